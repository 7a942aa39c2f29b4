"""Experiments whose journal says what became of their trials."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    AttemptStarted,
    EndedPolicy,
    Event,
    Fate,
    Outcome,
    Resumed,
    TrialSuggested,
)
from prefect_tune.coordinator.records import encode_event
from prefect_tune.error import StorageError
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.results import ExperimentAnalysis, Result, ResultGrid
from prefect_tune.storage.journal.file import encode_line
from prefect_tune.storage.journal.header import JournalHeader, parse_header

ERROR = AttemptError("ValueError", "bad lr", "Traceback ...\nValueError: bad lr")


def header(run: str = "a", **arguments: str) -> bytes:
    return JournalHeader(run, run, "exp", 1.0, "train", arguments=arguments).encode()


def suggested(number: int, **config: Any) -> TrialSuggested:
    trial_id = f"abcde_{number:05d}"
    return TrialSuggested(
        1.0, trial_id, config, config, f"{number}_x", Resources.parse(None), f"dir_{number}"
    )


def started(number: int) -> AttemptStarted:
    return AttemptStarted(2.0, f"abcde_{number:05d}", 1, "tcp://x", 42, "host", "10.0.0.1")


def ended(
    number: int, outcome: Outcome, fate: Fate | None, error: AttemptError | None = None, **more: int
) -> AttemptEnded:
    return AttemptEnded(3.0, f"abcde_{number:05d}", 1, outcome, error, fate, **more)


def write(directory: Path, *records: bytes | Event, results: int = 0) -> Path:
    directory.mkdir(exist_ok=True)
    texts = [r if isinstance(r, bytes) else encode_event(r) for r in records]
    (directory / "journal.jsonl").write_bytes(b"".join(map(encode_line, texts)))
    for number in range(results):
        trial = directory / f"dir_{number}"
        trial.mkdir()
        (trial / "params.json").write_text(json.dumps({"x": number}))
        (trial / "result.json").write_text(json.dumps({"loss": number, "training_iteration": 1}))
    return directory


def statuses(directory: Path) -> list[str]:
    return [trial.status for trial in ExperimentAnalysis(directory).trials]


def test_every_status(tmp_path: Path) -> None:
    fates = [
        (Outcome.FINISHED, Fate.TERMINATED),
        (Outcome.FAILED, Fate.FAILED),
        (Outcome.PAUSED, Fate.PAUSED),
        (Outcome.FAILED, Fate.RETRIED),
        (Outcome.LOST, Fate.REQUEUED),
        (Outcome.STOPPED, Fate.INTERRUPTED),
    ]
    events: list[Event] = [suggested(n) for n in range(9)]
    events += [started(n) for n in range(8)]
    events += [ended(n, outcome, fate) for n, (outcome, fate) in enumerate(fates)]
    events.append(ended(6, Outcome.FINISHED, None, uploading=1))
    assert statuses(write(tmp_path, header(), *events)) == [
        "TERMINATED",
        "ERROR",
        "PAUSED",
        "PENDING",
        "PENDING",
        "PENDING",
        "RUNNING",
        "RUNNING",
        "PENDING",
    ]


def test_results_errors_and_places_of_a_moved_experiment(tmp_path: Path) -> None:
    events = [suggested(0, x=0), suggested(1, x=1), started(0), started(1)]
    events += [ended(0, Outcome.FINISHED, Fate.TERMINATED)]
    events += [ended(1, Outcome.FAILED, Fate.FAILED, ERROR)]
    write(tmp_path / "old", header(), *events, results=2)
    shutil.move(tmp_path / "old", tmp_path / "new")
    grid = ResultGrid(ExperimentAnalysis(tmp_path / "new"))
    assert [result.metrics["loss"] for result in grid] == [0, 1]
    assert [result.metrics.get("done") for result in grid] == [True, None], "as in the run itself"
    assert "bad lr" in str(grid[1].error)
    assert grid[0].path == str(tmp_path / "new" / "dir_0")
    assert str(grid.analysis.trials[0]) == "train_abcde_00000"
    assert grid.analysis.trials[0].evaluated_params == {"x": 0}
    assert grid.analysis.runner_data()["trainable"] == "train"


def test_metric_and_mode_are_remembered(tmp_path: Path) -> None:
    one = write(tmp_path / "1", header(**{"`metric`": "'loss'", "`mode`": "'min'"}), suggested(0))
    assert (ExperimentAnalysis(one).default_metric, ExperimentAnalysis(one).default_mode) == (
        "loss",
        "min",
    )
    events = [suggested(n, x=n) for n in range(2)]
    several = {"`metric`": "['loss', 'x']", "`mode`": "['min', 'max']"}
    two = write(tmp_path / "2", header(**several), *events, results=2)
    analysis = ExperimentAnalysis(two)
    assert analysis.default_metric is None
    assert analysis.get_pareto_trials({"loss": "min"}) == [analysis.trials[0]]
    unknown = write(tmp_path / "3", header(**{"`metric`": "None"}), suggested(0))
    assert ExperimentAnalysis(unknown).default_metric is None


def test_a_journal_cut_off_by_a_crash(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = [suggested(0, x=0), started(0), ended(0, Outcome.FINISHED, Fate.TERMINATED)]
    write(tmp_path, header(), *events, suggested(1, x=1), results=2)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-30])
    with caplog.at_level(logging.WARNING):
        trials = ExperimentAnalysis(tmp_path).trials
    assert [trial.last_result["loss"] for trial in trials] == [0, 1]  # the second from its files
    assert "line 5" in caplog.text
    assert journal.read_bytes()[-1:] != b"\n", "reading does not repair"


def test_only_the_last_run_in_a_directory_counts(tmp_path: Path) -> None:
    write(tmp_path, header("a"), suggested(0), header("b"), suggested(1), results=2)
    assert [t.relative_logdir for t in ExperimentAnalysis(tmp_path).trials] == ["dir_1"]


def test_a_resume_runs_failed_trials_again(tmp_path: Path) -> None:
    events = [suggested(0), ended(0, Outcome.FAILED, Fate.FAILED), suggested(1), started(1)]
    kept = write(tmp_path / "1", header(), *events, Resumed(4.0))
    assert statuses(kept) == ["ERROR", "PENDING"]
    again = write(tmp_path / "2", header(), *events, Resumed(4.0, errored=EndedPolicy.RESUME))
    assert statuses(again) == ["PENDING", "PENDING"]
    launched = AttemptLaunched(5.0, "abcde_00000", 2)
    running = write(
        tmp_path / "3", header(), *events, Resumed(4.0, errored=EndedPolicy.RESTART), launched
    )
    assert statuses(running) == ["RUNNING", "PENDING"]


def test_one_trial_by_its_directory(tmp_path: Path) -> None:
    events = [suggested(0, x=0), started(0), ended(0, Outcome.FAILED, Fate.FAILED, ERROR)]
    write(tmp_path, header(), *events, results=2)
    failed = Result.from_path(tmp_path / "dir_0")
    assert (failed.config, failed.metrics["loss"]) == ({"x": 0}, 0)
    assert "bad lr" in str(failed.error)
    unknown = Result.from_path(str(tmp_path / "dir_1"))
    assert (unknown.config, unknown.error) == ({"x": 1}, None)
    assert unknown.filesystem.exists(f"{unknown.path}/result.json")
    with pytest.raises(StorageError, match="no trial in"):
        Result.from_path(tmp_path)
    with pytest.raises(ValueError, match="ExperimentAnalysis"):
        Result.from_path("memory://bucket/exp/dir_0")


class Planted:
    """Makes a directory wherever it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_reading_results_runs_no_code_of_those_who_can_write_them(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    error = AttemptError("ValueError", "bad", pickled=pickle.dumps(Planted(planted)))
    directory = write(
        tmp_path / "exp",
        header(),
        suggested(0, x=Planted(planted), y=(1, 2)),
        ended(0, Outcome.FAILED, Fate.FAILED, error),
        results=2,
    )
    for name in ("error.pkl", "params.pkl"):
        (directory / "dir_1" / name).write_bytes(pickle.dumps(Planted(planted)))
    (directory / "dir_1" / "error.txt").write_text("ValueError: bad")
    grid = ResultGrid(ExperimentAnalysis(directory))
    assert [str(error) for error in grid.errors if "bad" in str(error)] != []
    assert grid[0].config == {"x": 0}
    assert not planted.exists()


def test_plain_data_that_json_does_not_know_is_read_as_it_was(tmp_path: Path) -> None:
    config = {"shape": (3, 4), "rate": np.float64(0.5), "weights": np.arange(3)}
    directory = write(tmp_path / "exp", header(), suggested(0, **config))
    found = ExperimentAnalysis(directory).trials[0].config
    assert (found["shape"], found["rate"]) == ((3, 4), 0.5)
    assert type(found["rate"]) is np.float64
    assert found["weights"].tolist() == [0, 1, 2]


def test_a_trial_that_a_scheduler_has_ended_while_it_waited(tmp_path: Path) -> None:
    paused = [suggested(n) for n in range(3)] + [AttemptLaunched(2.0, "abcde_00000", 1)]
    paused.append(ended(0, Outcome.PAUSED, Fate.PAUSED))
    dropped = ended(0, Outcome.STOPPED, Fate.TERMINATED)
    never_ran = AttemptEnded(3.0, "abcde_00001", 0, Outcome.STOPPED, None, Fate.TERMINATED)
    journal = write(tmp_path, header(), *paused, dropped, never_ran)
    assert statuses(journal) == ["TERMINATED", "TERMINATED", "PENDING"]


def test_many_metrics_are_remembered_whole(tmp_path: Path) -> None:
    metrics = [f"a_metric_with_a_long_name_{n}" for n in range(9)]
    record = JournalHeader(
        "a", "a", "exp", 1.0, arguments={"metric": metrics, "mode": ["min"] * 9, "seed": 3}
    )
    written = parse_header(record.encode())
    assert written is not None
    assert written.arguments == {"metric": metrics, "mode": ["min"] * 9, "seed": 3}
