"""The built-in loggers, and a user's one, against the conformance suite."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event

from prefect_tune.experiment.trial import Trial
from prefect_tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
)
from prefect_tune.nested import flatten
from prefect_tune.testing.logger import LoggerConformance


class TestJson(LoggerConformance):
    def make_logger(self) -> LoggerCallback:
        return JsonLoggerCallback()

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        path = directory / "result.json"
        if not path.exists():
            return []
        return [flatten(json.loads(line)) for line in path.read_text().splitlines()]


class TestCSV(LoggerConformance):
    def make_logger(self) -> LoggerCallback:
        return CSVLoggerCallback()

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        path = directory / "progress.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            row | {"loss": float(row["loss"]), "val/loss": float(row["val/loss"])} for row in rows
        ]


class TestTBX(LoggerConformance):
    def make_logger(self) -> LoggerCallback:
        return TBXLoggerCallback()

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        rows = []
        for event in events(directory):
            scalars = {
                value.tag.removeprefix("ray/tune/"): value.simple_value
                for value in event.summary.value
                if value.HasField("simple_value")
            }
            if scalars:
                rows.append({"training_iteration": event.step, **scalars})
        return rows


class Recorder(LoggerCallback):
    """A logger as users write them: one result at a time, one file per trial."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        directory = Path(trial.logdir)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "mine.txt").open("a") as file:
            file.write(repr(flatten(result)) + "\n")


class TestUsersLogger(LoggerConformance):
    def make_logger(self) -> LoggerCallback:
        return Recorder()

    def read_back(self, directory: Path) -> list[dict[str, Any]]:
        path = directory / "mine.txt"
        if not path.exists():
            return []
        nan, inf = float("nan"), float("inf")
        return [
            eval(line, {"nan": nan, "inf": inf})  # our own repr
            for line in path.read_text().splitlines()
        ]


def events(directory: Path) -> list[Event]:
    """All events of a trial in the order of its files; checks the frame of each record."""
    found = []
    for path in sorted(
        directory.glob("events.out.tfevents.*"), key=lambda p: int(p.name.split(".")[-1])
    ):
        data = path.read_bytes()
        position = 0
        while position < len(data):
            size = int.from_bytes(data[position : position + 8], "little")
            body = data[position + 12 : position + 12 + size]
            assert len(body) == size
            found.append(Event.FromString(body))
            position += 12 + size + 4
    return found
