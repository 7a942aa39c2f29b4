"""Conformance tests for loggers.

Derive a test class that says how to make the logger and how to read what it wrote::

    class TestMine(LoggerConformance):
        def make_logger(self):
            return MyLoggerCallback()

        def read_back(self, directory):
            return [...]  # the logged results, in order, as far as the logger keeps them
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from prefect_tune.coordinator.commands import Notice
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.threads import LoggerThreads, LogRecord
from prefect_tune.trainable.runtime.metrics import CONSTANTS

_OPEN_FILES = Path("/proc/self/fd")


def example_trial(experiment_dir: Path, number: int = 0) -> Trial:
    """Return a trial whose directory does not exist yet."""
    return Trial(
        f"c0ffe_{number:05d}",
        {"lr": 0.1 * (number + 1), "net": {"units": 64, "act": "relu"}, "sizes": [1, 2]},
        trainable_name="example",
        experiment_tag=f"{number + 1}_lr={0.1 * (number + 1):.4f}",
        relative_logdir=f"example_{number}",
        local_experiment_dir=str(experiment_dir),
    )


def example_results(trial: Trial, count: int, first: int = 1) -> list[dict[str, Any]]:
    """Return consecutive results of a trial, complete with the auto-filled values."""
    return [
        {
            "loss": 1.0 / step,
            "val": {"loss": 2.0 / step, "top": step % 3},
            "training_iteration": step,
            "timestamp": 1_700_000_000 + step,
            "done": False,
            "note": 'a "quoted", text',
            "trial_id": trial.trial_id,
            "experiment_tag": trial.experiment_tag,
            "pid": 4321,
            "hostname": "node",
            "node_ip": "10.0.0.7",
            "config": trial.config,
        }
        for step in range(first, first + count)
    ]


def as_lines(results: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return results as JSON texts, as a trial process sends them: without the constants."""
    return [
        orjson.dumps({key: value for key, value in result.items() if key not in CONSTANTS})
        for result in results
    ]


def open_files() -> int:
    """Return the number of open files of this process; skip the test if there is no /proc."""
    if not _OPEN_FILES.is_dir():
        pytest.skip("the open files of a process can only be counted with /proc")
    return len(os.listdir(_OPEN_FILES))


class LoggerConformance:
    """The tests that every logger has to pass; derive a test class from it."""

    def make_logger(self) -> LoggerCallback:
        """Return a new logger."""
        raise NotImplementedError

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        """Return the logged results of the trial with this directory, in order, as flat dicts.

        Only `training_iteration`, `loss` and ``val/loss`` (flat) are compared.
        """
        raise NotImplementedError

    def check(self, trial: Trial, results: Sequence[dict[str, Any]]) -> None:
        """Check that the trial's files hold exactly these results."""
        logged = self.read_back(Path(trial.logdir))
        steps = [int(row["training_iteration"]) for row in logged]
        assert steps == [result["training_iteration"] for result in results]
        for row, result in zip(logged, results, strict=True):
            assert row["loss"] == pytest.approx(result["loss"], rel=1e-6)
            assert row["val/loss"] == pytest.approx(result["val"]["loss"], rel=1e-6)

    def test_each_report_is_logged_once_in_order(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 7)
        logger.log_trial_start(trial)
        for result in results:
            logger.log_trial_result(0, trial, result)
        logger.log_trial_end(trial)
        self.check(trial, results)

    @pytest.mark.parametrize("with_lines", [True, False])
    def test_batches_are_logged_like_single_results(self, tmp_path: Path, with_lines: bool) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 10)
        lines = as_lines(results) if with_lines else []
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results[:1], lines[:1])
        logger.log_trial_results(0, trial, results[1:], lines[1:])
        logger.log_trial_end(trial)
        self.check(trial, results)

    def test_a_result_marked_done_after_its_line_was_written(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 3)
        lines = as_lines(results)
        results[-1]["done"] = True
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results, lines)
        logger.log_trial_end(trial)
        self.check(trial, results)

    def test_a_retry_adds_to_what_is_there(self, tmp_path: Path) -> None:
        trial = example_trial(tmp_path)
        results = example_results(trial, 6)
        for part in (results[:4], results[4:]):
            logger = self.make_logger()
            logger.log_trial_start(trial)
            logger.log_trial_results(0, trial, part)
            logger.on_experiment_end([trial])
        self.check(trial, results)

    def test_a_retry_in_the_same_experiment(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 6)
        for part in (results[:4], results[4:]):
            logger.log_trial_start(trial)
            logger.log_trial_results(0, trial, part, as_lines(part))
        logger.log_trial_end(trial)
        self.check(trial, results)

    def test_results_of_trials_do_not_mix(self, tmp_path: Path) -> None:
        logger = self.make_logger()
        trials = [example_trial(tmp_path, number) for number in range(3)]
        results = [
            example_results(trial, 5, first=number) for number, trial in enumerate(trials, 1)
        ]
        for trial in trials:
            logger.log_trial_start(trial)
        for step in range(5):
            for trial, reported in zip(trials, results, strict=True):
                logger.log_trial_result(step, trial, reported[step])
        logger.on_experiment_end(trials)
        for trial, reported in zip(trials, results, strict=True):
            self.check(trial, reported)

    def test_flushed_results_are_on_disk(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 4)
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results)
        logger.flush()
        self.check(trial, results)
        logger.on_experiment_end([trial])

    def test_metrics_may_come_later_and_stay_away(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 9)
        for step, result in enumerate(results):
            if step >= 3:
                result[f"late_{step // 3}"] = step
            if step == 5:
                del result["note"]
        logger.log_trial_start(trial)
        for start in range(0, 9, 2):
            logger.log_trial_results(0, trial, results[start : start + 2])
            logger.flush()
        logger.log_trial_end(trial)
        self.check(trial, results)

    @pytest.mark.parametrize(
        "value",
        [float("nan"), float("inf"), None, True, "text\nin lines", [1, 2], {}, 2**70, b"bytes"],
        ids=repr,
    )
    def test_any_value_can_be_reported(self, tmp_path: Path, value: Any) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 3)
        results[1]["odd"] = value
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results)
        logger.log_trial_end(trial)
        self.check(trial, results)

    def test_results_and_configurations_are_left_alone(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        results = example_results(trial, 3)
        before, config = copy.deepcopy(results), copy.deepcopy(trial.config)
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results, as_lines(results))
        logger.log_trial_end(trial)
        assert results == before
        assert trial.config == config

    def test_a_trial_without_results(self, tmp_path: Path) -> None:
        logger, trial = self.make_logger(), example_trial(tmp_path)
        logger.log_trial_start(trial)
        logger.log_trial_end(trial, failed=True)
        logger.on_experiment_end([trial])
        self.check(trial, [])

    def test_many_trials_need_few_open_files(self, tmp_path: Path) -> None:
        before = open_files()
        logger = self.make_logger()
        trials = [example_trial(tmp_path, number) for number in range(300)]
        for trial in trials:
            logger.log_trial_start(trial)
        for step in (1, 2):
            for trial in trials:
                logger.log_trial_results(0, trial, example_results(trial, 1, first=step))
            logger.flush()
            assert open_files() - before <= 140
        logger.on_experiment_end(trials)
        assert open_files() <= before
        for trial in trials[::37]:
            self.check(trial, example_results(trial, 2))

    def test_behind_the_logger_thread(self, tmp_path: Path) -> None:
        thread = LoggerThreads([self.make_logger()])
        thread.setup()
        trial = example_trial(tmp_path)
        results = example_results(trial, 20)
        thread.submit([LogRecord(Notice.TRIAL_START, trial)])
        for start in range(0, 20, 5):
            part = results[start : start + 5]
            thread.submit([LogRecord(Notice.TRIAL_RESULT, trial, part, as_lines(part))])
        thread.submit([LogRecord(Notice.TRIAL_COMPLETE, trial)])
        assert thread.close([trial])
        assert thread.error is None
        self.check(trial, results)
