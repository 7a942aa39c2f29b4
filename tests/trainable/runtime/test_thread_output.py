"""What trials in threads print goes to the console and to files of their own."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from prefect_tune.trainable.runtime.thread_output import copied_output


def test_each_thread_has_its_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    both = threading.Barrier(2)

    def trial(name: str) -> None:
        with copied_output(tmp_path / f"{name}.out", tmp_path / f"{name}.err"):
            both.wait(10)
            print("line of", name)
            print("warning of", name, file=sys.stderr)
            both.wait(10)

    threads = [threading.Thread(target=trial, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for name in ("a", "b"):
        assert (tmp_path / f"{name}.out").read_text() == f"line of {name}\n"
        assert (tmp_path / f"{name}.err").read_text() == f"warning of {name}\n"
    shown = capsys.readouterr()
    # `print` writes a line in pieces, so those of two threads mix on the console, as ever.
    assert sorted(shown.out) == sorted("line of a\nline of b\n")
    assert sorted(shown.err) == sorted("warning of a\nwarning of b\n")
    assert (sys.stdout, sys.stderr) == before


def test_one_file_takes_both_streams_in_order(tmp_path: Path) -> None:
    path = tmp_path / "all.log"
    path.write_text("earlier\n")
    with copied_output(path, path):
        print("one")
        print("two", file=sys.stderr)
        sys.stdout.writelines(["three\n", "four\n"])
        # Visible while the trial runs, and in what encoding the console has.
        assert path.read_text(encoding="utf-8") == "earlier\none\ntwo\nthree\nfour\n"
        assert sys.stdout.encoding


def test_others_print_to_the_console_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with copied_output(tmp_path / "o", tmp_path / "e"):
        other = threading.Thread(target=print, args=("the sweep's own words",))
        other.start()
        other.join(10)
    assert (tmp_path / "o").read_text() == ""
    assert capsys.readouterr().out == "the sweep's own words\n"


def test_whoever_took_the_stream_over_meanwhile_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    with copied_output(tmp_path / "o", tmp_path / "e"):
        taken = sys.stdout = sys.__stdout__
    assert sys.stdout is taken
