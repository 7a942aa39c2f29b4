"""What trials print, on the console."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.reporters import TrialOutputPrinter
from prefect_tune.reporters.trial_output import remove_escapes
from prefect_tune.trainable.output import TrialOutput

from .clock import set_clock


def output(*lines: str, **more: Any) -> TrialOutput:
    given: dict[str, Any] = {"trial_id": "t", "attempt": 1, "pid": 42, "stderr": False} | more
    return TrialOutput(**given, lines=lines)


def test_lines_have_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TrialOutputPrinter("train")
    printer.put(output("one", "two"))
    printer.put(output("bad", stderr=True, node_ip="10.0.0.7"))
    printer.put(output("shared", pid=0))
    printer.flush()
    told = capsys.readouterr()
    assert told.out == "(train pid=42) one\n(train pid=42) two\n(train) shared\n"
    assert told.err == "(train pid=42, ip=10.0.0.7) bad\n"
    printer.put(output("three"))
    printer.flush()
    assert capsys.readouterr().out == ""  # it is too early
    printer.flush(last=True)
    assert capsys.readouterr().out == "(train pid=42) three\n"


def test_colour_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    printer = TrialOutputPrinter("train")
    printer.put(output("one"))
    printer.flush()
    assert capsys.readouterr().out == "\x1b[36m(train pid=42)\x1b[0m one\n"


def test_no_flood(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    set_clock(monkeypatch, lambda: now)
    printer = TrialOutputPrinter("train")
    for _ in range(3600):
        now += 1
        printer.put(output(*["again"] * 100, path="/exp/t/stdout"))
        printer.flush()
    printer.flush(last=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 15_000
    assert "/exp/t/stdout" in lines[-1]
    shown = sum("again" in line for line in lines)
    told = sum(int(line.split()[3]) for line in lines if line.startswith("..."))
    assert shown + told == 360_000


@pytest.mark.parametrize(
    ("line", "plain", "coloured"),
    [
        ("größe\tof 😀", "größe\tof 😀", "größe\tof 😀"),
        ("\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m\x1b[0m"),
        ("a\x1b[2Jb\x1b[10;1Hc\x1b[?25l", "abc", "abc"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "textlink", "textlink"),
        ("bell\x07 back\x08 \x1bc\x1b(B reset", "bell back  reset", "bell back  reset"),
        ("\x1b[", "", ""),
        ("\x9b2Jtext", "2Jtext", "2Jtext"),
        ("\x1b", "", ""),
    ],
)
def test_lines_change_nothing_but_themselves(line: str, plain: str, coloured: str) -> None:
    assert remove_escapes(line, coloured=False) == plain
    assert remove_escapes(line, coloured=True) == coloured
