"""Commands that show results."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from prefect_tune.cli.main import main
from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome, TrialSuggested
from prefect_tune.coordinator.records import encode_event
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.results.plots.picture import Plot
from prefect_tune.storage.journal.file import encode_line


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[str, str]:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def table(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if not line.startswith("─")]


@pytest.mark.parametrize("name", ["ls", "list-trials"])
def test_the_default_columns(
    name: str, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = call(capsys, name, experiment)
    assert (
        table(out)[0]
        == (
            "trainable_name experiment_tag trial_id status loss training_iteration time_total_s "
            "config/lr config/kind config/fixed"
        ).split()
    )
    assert len(table(out)) == 11
    assert "Empty columns are left out: timesteps_total, mean_accuracy, mean_loss" in err


def test_narrow_terminals(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out, err = call(capsys, "ls", experiment)
    assert max(map(len, out.splitlines())) <= 60
    assert "beyond the width of the terminal" in err
    assert "config/lr" in err


def test_sorted_filtered_limited_chosen(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--sort", "loss", "--columns", "trial_id", "--result-columns", "loss,config/kind"]
    out, _ = call(
        capsys, "ls", experiment, *options, "--limit", "2", "--filter", "config/kind == a"
    )
    head, *rows = table(out)
    assert head == ["trial_id", "loss", "config/kind"]
    assert [row[0] for row in rows] == ["abcde_00008", "abcde_00006"]
    out, _ = call(
        capsys, "ls", experiment, *options, "--desc", "--filter", "loss < 5", "--filter", "loss > 3"
    )
    assert [row[0] for row in table(out)[1:]] == ["abcde_00006", "abcde_00007"]
    out, _ = call(capsys, "ls", experiment, "--filter", "status == RUNNING")
    assert out == "No rows.\n"


def test_output_files(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("csv", "json", "pkl"):
        out, _ = call(capsys, "ls", experiment, "--sort", "loss", "-o", tmp_path / f"t.{form}")
        assert out == f"Wrote 10 rows to {tmp_path / f't.{form}'}\n"
    with open(tmp_path / "t.csv") as file:
        from_csv = list(csv.DictReader(file))
    from_json = json.loads((tmp_path / "t.json").read_text())
    frame = pandas.read_pickle(tmp_path / "t.pkl")
    assert from_csv[0]["trial_id"] == from_json[0]["trial_id"] == frame["trial_id"][0]
    assert from_json[0]["loss"] == pytest.approx(1 + 1 / 3)
    out, _ = call(capsys, "ls", experiment, "-o", "json", "--limit", "1")
    assert json.loads(out)[0]["config/lr"] == 0.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sort", "nope"], "no column 'nope'; there are trainable_name"),
        (["--columns", "trial_id,nope"], "--columns: there is no column 'nope'"),
        (["--filter", "loss"], '"name operator value"'),
        (["--filter", "nope > 1"], "--filter: there is no column 'nope'"),
        (["--limit", "0"], "whole number from 1 up"),
        (["--output", "table.xls"], ".csv, .json or .pkl"),
        (["--output", "/nowhere/t.csv"], "cannot write"),
    ],
)
def test_wrong_options(
    options: list[str], said: str, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "ls", experiment, *options)


def test_names_of_experiments_are_whole_on_a_narrow_terminal(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "train_a_network_2026-11-22_00-57-50"
    experiment.rename(experiment.parent / name)
    monkeypatch.setenv("COLUMNS", "60")
    assert name in call(capsys, "lsx", experiment.parent)[0]


def test_nothing_is_cut_where_there_is_room(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(experiment / "train_abcde_00000_0")
    options = ("ls", experiment, "--columns", "trial_id,logdir", "--limit", "1")
    monkeypatch.setenv("COLUMNS", str(len(directory) + 20))
    assert len(directory) > 24
    assert directory in call(capsys, *options)[0]
    monkeypatch.setenv("COLUMNS", "50")
    assert "…" in call(capsys, *options)[0]


def test_experiments_of_a_directory(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(experiment / "journal.jsonl", (1_700_000_000, 1_700_000_000))
    (experiment.parent / "not_an_experiment").mkdir()
    other = experiment.parent / "by_files" / "trial"
    other.mkdir(parents=True)
    (other / "result.json").write_text("{}\n")
    out, _ = call(capsys, "lsx", experiment.parent, "--sort", "total_trials", "--desc")
    head, first, second = table(out)
    assert head[:3] == ["name", "total_trials", "last_updated"]
    assert first[:3] == ["exp", "10", "2023-11-14"]
    assert first[-3:] == ["9", "1", "train"]
    assert second[:2] == ["by_files", "1"]
    monkeypatch.setenv("TUNE_RESULT_DIR", str(experiment.parent))
    out, _ = call(capsys, "list-experiments", "--columns", "name", "--limit", "1")
    assert table(out) == [["name"], ["by_files"]]


@pytest.mark.parametrize("arguments", [("ls",), ("show",), ("best",), ("show", "evil")])
def test_names_and_parameters_do_not_command_the_terminal(
    experiment: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    evil = "\x1b[2Jevil\x1b]0;title\x07\u202e\x9b31m"
    config = {"lr": evil, evil: 1}
    records = [
        encode_event(
            TrialSuggested(1.0, "evil", config, config, evil, Resources.parse(None), "evil", evil)
        ),
        encode_event(
            AttemptEnded(2.0, "evil", 1, Outcome.FAILED, AttemptError("E", evil, evil), Fate.FAILED)
        ),
    ]
    with (experiment / "journal.jsonl").open("ab") as journal:
        journal.write(b"".join(map(encode_line, records)))
    (experiment / "evil").mkdir()
    row = json.dumps({"loss": -1, "training_iteration": 1, evil: 2})
    (experiment / "evil" / "result.json").write_text(row + "\n")
    command, *rest = arguments
    out, err = call(capsys, command, experiment, *rest)
    assert "evil" in out
    assert set("\x1b\x07\x9b\u202e").isdisjoint(out + err)


def test_show_and_best(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = call(capsys, "show", experiment)
    assert "10 (9 TERMINATED, 1 ERROR)" in out
    assert "failed      train_abcde_00009: ValueError: bad <lr>" in out
    assert "Best by loss (min)" in out
    out, _ = call(capsys, "show", experiment, "abcde_00003")
    assert "lr     0.3" in out
    out, _ = call(capsys, "best", experiment, "-o", "json")
    assert json.loads(out)["trial_id"] == "abcde_00009"
    out, _ = call(capsys, "best", experiment, "--mode", "max", "--constraint", "config/kind == b")
    assert "train_abcde_00001" in out
    assert "no trial has reported 'nope'; trials have reported loss" in refused(
        capsys, "best", experiment, "--metric", "nope"
    )
    assert "could be any of 10" in refused(capsys, "show", experiment, "abc")
    assert "no trial 'xyz'" in refused(capsys, "show", experiment, "xyz")
    assert main(["best", str(experiment), "--constraint", "loss > 100"]) == 1


@pytest.fixture
def nothing_reported(experiment: Path) -> Path:
    """An experiment whose trials have no results: they have just begun, or all failed at once."""
    for results in experiment.glob("*/result.json"):
        results.unlink()
    return experiment


def test_an_experiment_without_results_is_shown(
    nothing_reported: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, _ = call(capsys, "show", nothing_reported)
    assert "failed      train_abcde_00009: ValueError: bad <lr>" in out
    assert "There is no best trial: none of 10 has a finite value of the metric 'loss'" in (
        caplog.text
    )
    call(capsys, "report", nothing_reported)
    assert "bad &lt;lr&gt;" in (nothing_reported / "report.html").read_text()
    assert main(["best", str(nothing_reported)]) == 1
    assert "trials have reported no number so far" in refused(
        capsys, "best", nothing_reported, "--metric", "loss"
    )


def test_whether_anybody_still_runs_an_experiment(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = socket.gethostname()
    lock, told = experiment / ".lock", "its process has ended; a resume goes on with it"
    lock.write_text(f"process {ended.pid} on {here}")
    assert told not in call(capsys, "show", experiment)[0], "nothing is left to do"
    journal = (experiment / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (experiment / "journal.jsonl").write_bytes(b"".join(journal[:-1]))
    assert told in call(capsys, "show", experiment)[0]
    call(capsys, "report", experiment)
    assert told in (experiment / "report.html").read_text()
    with lock.open("rb") as held:  # by a process whose id is another one here
        fcntl.flock(held, fcntl.LOCK_EX)
        assert told not in call(capsys, "show", experiment)[0]
    for somebody in (f"process {os.getpid()} on {here}", f"process {ended.pid} on {here}2", "x"):
        lock.write_text(somebody)
        assert told not in call(capsys, "show", experiment)[0]


def test_without_a_metric_the_best_needs_one(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (experiment / "journal.jsonl").unlink()
    assert "Best by" not in call(capsys, "show", experiment)[0]
    assert "the experiment has none or several; trials have reported loss" in refused(
        capsys, "best", experiment
    )
    assert "argument --mode: it is missing" in refused(
        capsys, "show", experiment, "--metric", "loss"
    )
    assert "argument --metric: it is missing" in refused(
        capsys, "show", experiment, "--mode", "min"
    )


def test_a_constraint_that_no_trial_can_fulfil_names_what_was_meant(
    experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["best", str(experiment), "--constraint", "lr < 0.5"]) == 1
    assert "no trial has 'lr'; is it config/lr?" in caplog.text


@pytest.mark.parametrize("command", [["show"], ["best"], ["ls"]])
def test_json_is_json_proper(
    command: list[str], experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = '{"loss": 0.5, "training_iteration": 4, "bad": NaN, "deep": {"worse": [-Infinity]}}\n'
    for results in experiment.glob("*/result.json"):
        with results.open("a") as file:
            file.write(row)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    out, _ = call(capsys, *command, experiment, "--output", "json")
    assert json.loads(out, parse_constant=refuse)
    assert '"nan"' in out


def test_notes(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "add-note", experiment, "-m", "learning rate too high")
    call(capsys, "add-note", experiment, "-m", "try again")
    assert (experiment / "note.txt").read_text() == "learning rate too high\ntry again\n"
    call(capsys, "add-note", experiment, "--filename", "todo", "-m", "x")
    assert (experiment / "todo").exists()
    assert "without '/'" in refused(capsys, "add-note", experiment, "--filename", "../x", "-m", "x")
    assert "no directory" in refused(capsys, "add-note", experiment / "nowhere", "-m", "x")


def test_report(
    experiment: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Plot, "to_svg", lambda _: "<svg></svg>")  # which takes most of the time
    out, _ = call(capsys, "report", experiment)
    assert out == f"Wrote {experiment / 'report.html'}\n"
    out, _ = call(capsys, "report", experiment, "-o", tmp_path / "r.html")
    assert (tmp_path / "r.html").exists()
    assert "cannot write" in refused(capsys, "report", experiment, "-o", "/nowhere/r.html")


def test_a_long_table_pages_on_a_terminal(experiment: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    parent, child = pty.openpty()
    environment = {
        **os.environ,
        "PAGER": f"tee {seen}",
        "COLUMNS": "200",
        "LINES": "5",
    }
    subprocess.run(
        [sys.executable, "-m", "prefect_tune", "ls", experiment],
        stdin=child,
        stdout=child,
        stderr=subprocess.DEVNULL,
        env=environment,
        check=True,
    )
    os.close(child)
    os.close(parent)
    assert seen.read_text().count("TERMINATED") == 9


@pytest.mark.parametrize("command", ["ls", "show", "best", "report"])
def test_a_place_that_is_no_experiment_is_named_for_what_it_is(
    command: str, experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = next(path for path in experiment.iterdir() if path.is_dir())
    file = tmp_path / "file"
    file.touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"its experiment is {experiment}\n" in refused(capsys, command, trial)
    assert f"give one of them: {experiment}\n" in refused(capsys, command, experiment.parent)
    assert "is a file; give the directory" in refused(capsys, command, file)
    assert "there are no trials in" in refused(capsys, command, empty)
    assert "no file system is known for weird://" in refused(capsys, command, "weird://x/y")
    assert main([command, str(tmp_path / "missing")]) == 1
    assert "missing: No such file or directory" in capsys.readouterr().err


def test_directories_of_this_machine(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is an experiment; `prefect-tune list-trials`" in refused(capsys, "lsx", experiment)
    assert "is a URL" in refused(capsys, "lsx", "s3://bucket/x")
    assert "is a URL" in refused(capsys, "add-note", "s3://bucket/x", "-m", "note")


@pytest.mark.parametrize("command", ["ls", "show", "best", "report"])
def test_an_experiment_that_a_crash_has_cut_off(
    command: str, experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = experiment / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-100])
    assert main([command, str(experiment)]) == 0
    assert "where the line is cut off" in caplog.text
