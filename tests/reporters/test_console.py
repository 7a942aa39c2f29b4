"""Consoles that cannot show everything."""

from __future__ import annotations

import io
import sys

import pytest

from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.reporters import CLIReporter
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.console import is_unicode_terminal, write_text
from prefect_tune.reporters.factory import make_reporter
from prefect_tune.reporters.plain import PlainReporter
from prefect_tune.reporters.trial_output import TrialOutputPrinter
from prefect_tune.trainable.output import TrialOutput


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


def terminal(monkeypatch: pytest.MonkeyPatch, encoding: str = "latin-1") -> Terminal:
    # Not a fixture: what is captured changes between a test's set-up and the test.
    shown = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("TERM", "xterm")
    return shown


def test_what_there_is_no_character_for_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = terminal(monkeypatch)
    write_text("\x1b[31mGröße\x1b]0;title\x07: 日本 …\x1b[2J")
    assert latin.shown() == "Größe: ?? ?\n"


@pytest.mark.parametrize("reporter", [CLIReporter(), PlainReporter(3)])
def test_names_do_not_end_a_sweep(
    reporter: ProgressReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    latin = terminal(monkeypatch)
    trial = Trial("abcde_00000", {"größe": "日本"}, evaluated_params={"größe": "日本"})
    trial.status = TERMINATED
    reporter.setup(metric="größe_日本", mode="min")
    reporter.report([trial], True)
    assert "größe" in latin.shown()
    assert "??" in latin.shown()


def test_what_trials_print_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = terminal(monkeypatch)
    printer = TrialOutputPrinter("train")
    printer.put(TrialOutput(trial_id="t", attempt=1, pid=1, stderr=False, lines=("日本",)))
    printer.flush(last=True)
    assert latin.shown().endswith(" ??\n")


def test_a_live_table_needs_all_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = terminal(monkeypatch)
    assert not is_unicode_terminal(latin)
    assert isinstance(make_reporter(), PlainReporter)
    terminal(monkeypatch, "utf-8")
    assert not isinstance(make_reporter(), PlainReporter)
    assert not is_unicode_terminal(None)
    assert not is_unicode_terminal(io.StringIO())


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    write_text("nothing happens")
