"""What callbacks remember beyond the life of a process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.config import TuneConfig
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.resume.callbacks import CALLBACKS_FILE
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from tests.engine.inline_executor import InlineExecutor, experiment, run


class Counts(tune.Callback):
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **i: Any
    ) -> None:
        self.count += 1

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class CountsOthers(Counts):
    pass


class CountingLogger(LoggerCallback):
    def __init__(self) -> None:
        self.count = 0
        self.threads: set[str] = set()

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self.count += 1

    def get_state(self) -> dict[str, Any]:
        self.threads.add(threading.current_thread().name)
        return {"count": self.count}

    def set_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class FailsToSave(Counts):
    def get_state(self) -> dict[str, Any]:
        raise OSError("no room")


class CannotBePickled(Counts):
    def get_state(self) -> dict[str, Any]:
        return {"lock": threading.Lock()}


class FailsToRestore(Counts):
    def set_state(self, state: dict[str, Any]) -> None:
        raise KeyError("what")


def sweep(path: Path, samples: int, *callbacks: Any, resume: Any = "AUTO") -> RunningExperiment:
    config = TuneConfig(num_samples=samples)
    return experiment(path, InlineExecutor(), config, resume=resume, callbacks=list(callbacks))


def test_they_count_on_where_they_were(tmp_path):
    run(sweep(tmp_path, 2, Counts(), CountsOthers(100), logger := CountingLogger()))
    assert logger.count == 6
    counts, others, logger = Counts(), CountsOthers(), CountingLogger()
    run(sweep(tmp_path, 3, counts, others, logger))
    assert (counts.count, others.count, logger.count) == (9, 109, 9)


def test_they_are_saved_while_the_sweep_runs(tmp_path, monkeypatch):
    """With each snapshot, loggers in their own thread."""
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
    one = sweep(tmp_path, 50, Counts(), logger := CountingLogger())
    run(one)
    assert any(name.startswith("log-") for name in logger.threads)


def test_each_gets_the_state_of_its_class(tmp_path):
    run(sweep(tmp_path, 1, Counts(), Counts(10), CountsOthers(100)))
    # Another order, one more and one less.
    others, first, second, third = CountsOthers(), Counts(), Counts(), Counts(1000)
    one = sweep(tmp_path, 1, others, first, second, third)
    assert [c.count for c in (others, first, second, third)] == [103, 3, 13, 1000]
    one.close()


@pytest.mark.parametrize("cls", [FailsToSave, CannotBePickled])
def test_one_that_cannot_be_saved_is_named_once(tmp_path, caplog, monkeypatch, cls):
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
    run(sweep(tmp_path, 9, cls(), Counts()))
    assert caplog.text.count(f"The callback {cls.__name__} failed in get_state") == 1
    again = Counts()
    sweep(tmp_path, 9, cls(), again).close()
    assert again.count == 27


def test_one_that_cannot_be_restored_is_named(tmp_path, caplog):
    run(sweep(tmp_path, 2, FailsToRestore(), Counts()))
    again = Counts()
    run(sweep(tmp_path, 3, FailsToRestore(), again))
    assert (
        "The callback FailsToRestore failed in set_state and begins anew: KeyError" in caplog.text
    )
    assert again.count == 9


def test_a_damaged_file(tmp_path, caplog):
    run(sweep(tmp_path, 2, Counts()))
    (tmp_path / "e" / CALLBACKS_FILE).write_bytes(b"what is this")
    again = Counts()
    run(sweep(tmp_path, 3, again))
    assert "The states of the callbacks in" in caplog.text
    assert again.count == 3


def test_without_a_state_there_is_no_file(tmp_path):
    run(sweep(tmp_path, 2))
    assert not (tmp_path / "e" / CALLBACKS_FILE).exists()


def test_a_new_run_gets_no_old_state(tmp_path):
    run(sweep(tmp_path, 2, Counts()))
    counts = Counts()
    one = sweep(tmp_path, 2, counts, resume=None)
    assert counts.count == 0
    run(one)
    assert counts.count == 6
