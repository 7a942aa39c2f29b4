"""Loggers in the way of Ray Tune 1."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger import (
    DEFAULT_LOGGERS,
    CSVLogger,
    CSVLoggerCallback,
    JsonLogger,
    JsonLoggerCallback,
    LegacyLoggerCallback,
    Logger,
    NoopLogger,
    TBXLogger,
    TBXLoggerCallback,
    UnifiedLogger,
    default_loggers,
    pretty_print,
    with_loggers,
)
from prefect_tune.testing.logger import (
    LoggerConformance,
    example_results,
    example_trial,
    open_files,
)


class TestCSVLogger(LoggerConformance):
    def make_logger(self) -> LegacyLoggerCallback:
        return LegacyLoggerCallback([NoopLogger, CSVLogger])

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        path = directory / "progress.csv"
        rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
        numbers = ("loss", "val/loss", "training_iteration")
        return [{name: float(row[name]) for name in numbers} for row in rows]

    def test_many_trials_need_few_open_files(self, tmp_path: Path) -> None:
        """A logger for each trial has a file for each; it is closed with the trial."""
        before = open_files()
        logger = self.make_logger()
        trials = [example_trial(tmp_path, number) for number in range(30)]
        for one in trials:
            logger.log_trial_results(0, one, example_results(one, 1))
        for one in trials:
            logger.log_trial_end(one)
        assert open_files() == before


class Recorder(Logger):
    seen: list[Any]

    def _init(self) -> None:
        self.seen.append(("made", self.config["a"], self.trial is not None))

    def on_result(self, result: dict[str, Any]) -> None:
        self.seen.append(("result", result["loss"], result["training_iteration"]))

    def update_config(self, config: dict[str, Any]) -> None:
        self.seen.append(("config", config["a"]))

    def flush(self) -> None:
        self.seen.append("flush")

    def close(self) -> None:
        self.seen.append("closed")


@pytest.fixture
def recorder() -> type[Recorder]:
    return type("Mine", (Recorder,), {"seen": []})


def trial(directory: Path, number: int = 0) -> Trial:
    return Trial(
        f"t{number}",
        {"a": number},
        relative_logdir=f"t{number}",
        local_experiment_dir=str(directory),
    )


def test_each_trial_has_a_logger_of_its_own(tmp_path, recorder):
    callback = LegacyLoggerCallback([recorder])
    one, two = trial(tmp_path, 1), trial(tmp_path, 2)
    callback.log_trial_start(one)
    callback.log_trial_start(two)
    callback.log_trial_result(1, one, {"loss": 0.5, "training_iteration": 1})
    callback.flush()
    callback.log_trial_start(one)  # a retry
    callback.log_trial_end(one, failed=True)
    callback.on_experiment_end([one, two])
    assert recorder.seen == [
        ("made", 1, True),
        ("made", 2, True),
        ("result", 0.5, 1),
        "flush",
        "flush",
        ("config", 1),
        "closed",
        "closed",
    ]


def test_loggers_outside_of_an_experiment(tmp_path):
    logger = UnifiedLogger({"lr": 0.1}, str(tmp_path / "mine"))
    logger.on_result({"loss": 1.0, "training_iteration": 1})
    logger.update_config({"lr": 0.2})
    logger.on_result({"loss": 0.5, "training_iteration": 2, "acc": 0.9})
    logger.flush()
    logger.close()
    lines = (tmp_path / "mine" / "result.json").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [1.0, 0.5]
    assert json.loads((tmp_path / "mine" / "params.json").read_text()) == {"lr": 0.2}
    with (tmp_path / "mine" / "progress.csv").open() as file:
        assert [row["acc"] for row in csv.DictReader(file)] == ["", "0.9"]
    assert list((tmp_path / "mine").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("loggers", [DEFAULT_LOGGERS, [UnifiedLogger]])
def test_no_file_is_written_twice(loggers):
    callbacks = default_loggers(with_loggers([], loggers), {})
    assert [type(callback) for callback in callbacks] == [LegacyLoggerCallback]


def test_what_is_not_among_them_is_added():
    callbacks = default_loggers([LegacyLoggerCallback([JsonLogger, TBXLogger])], {})
    assert [type(callback) for callback in callbacks[1:]] == [CSVLoggerCallback]
    callbacks = default_loggers([LegacyLoggerCallback([NoopLogger])], {})
    kinds = [CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback]
    assert [type(callback) for callback in callbacks[1:]] == kinds


@pytest.mark.parametrize(
    ("loggers", "message"),
    [
        ([JsonLoggerCallback], r"is a callback.*callbacks="),
        ([JsonLoggerCallback()], r"is a callback.*callbacks="),
        ([3], "3 cannot be called"),
        (3, "Give a list"),
    ],
)
def test_wrong_loggers_are_named(loggers, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        tune.run(lambda config: None, loggers=loggers)
    assert caught.value.argument == "loggers"


def train(config):
    for step in range(3):
        tune.report(loss=config["a"] / (step + 1))


def test_run_takes_loggers(tmp_path, recorder):
    tune.run(
        train,
        config={"a": 6},
        loggers=[recorder, *DEFAULT_LOGGERS],
        local_dir=str(tmp_path),
        verbose=0,
        orchestrate=False,
    )
    told = [call for call in recorder.seen if call != "flush"]
    results = [("result", 6.0, 1), ("result", 3.0, 2), ("result", 2.0, 3)]
    assert told == [("made", 6, True), *results, "closed"]
    (file,) = tmp_path.glob("*/*/result.json")
    assert len(file.read_text().splitlines()) == 3


def test_a_logger_that_raises_is_named(tmp_path):
    class Bad(NoopLogger):
        def on_result(self, result):
            raise OSError("no space left")

    with pytest.raises(OSError, match=r"LegacyLoggerCallback failed.*no space left"):
        tune.run(
            train,
            config={"a": 6},
            loggers=[Bad],
            local_dir=str(tmp_path),
            verbose=0,
            orchestrate=False,
        )


def test_pretty_print_is_sorted_yaml_without_the_configuration(tmp_path):
    result = {
        "b": 1,
        "a": np.float32(2.5),
        "n": None,
        "config": {"x": 1},
        "l": [1, {"k": 2}],
        "s": {"z": float("nan"), "y": None},
    }
    wanted = "a: 2.5\nb: 1\nl:\n- 1\n- k: 2\ns:\n  y: null\n  z: .nan\n"
    assert pretty_print(result) == wanted
    assert pretty_print({"b": 1, "c": 2}, exclude={"b"}) == "c: 2\n"
    assert "loss: 1.0" in pretty_print(example_results(example_trial(tmp_path), 1)[0])
