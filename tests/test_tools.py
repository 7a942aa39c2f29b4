"""Small tools of Ray Tune that scripts may use."""

from __future__ import annotations

import io
import json
import logging
import math
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest

from prefect_tune.experiment.trial import Trial
from prefect_tune.progress_reporter import CLIReporter, RemoteReporterMixin
from prefect_tune.utils.util import SafeFallbackEncoder, Tee, is_nan, is_nan_or_inf


def test_a_tee_writes_to_both(caplog: pytest.LogCaptureFixture) -> None:
    first, second = io.StringIO(), io.StringIO()
    tee = Tee(first, second)
    print("to both", file=tee, flush=True)
    assert first.getvalue() == second.getvalue() == "to both\n"
    assert (tee.encoding, tee.newlines) == (first.encoding, first.newlines)
    first.close()
    with caplog.at_level(logging.WARNING):
        print("to the other", file=tee)
    assert second.getvalue() == "to both\nto the other\n"
    assert "failed in write" in caplog.text


def test_a_trial_makes_its_directory_for_loggers(tmp_path: Path) -> None:
    trial = Trial("a", {}, relative_logdir="deep/a", local_experiment_dir=str(tmp_path))
    for make in (trial.init_logdir, trial.init_local_path):
        make()
        assert Path(trial.logdir) == tmp_path / "deep" / "a"
        assert Path(trial.logdir).is_dir()


@pytest.mark.parametrize("method", ["detach", "read", "readline", "tell"])
def test_a_tee_is_for_writing(method: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Tee(io.StringIO(), io.StringIO()), method)()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(1), "1.0"),
        (np.arange(3), "[0, 1, 2]"),
        (np.bool_(True), "true"),
        (np.int64(3), "3"),
        (np.float32("nan"), '"null"'),
        (math.nan, "NaN"),
        ({1, 2}, '"{1, 2}"'),
        (object, "\"<class 'object'>\""),
    ],
)
def test_an_encoder_for_anything(value: Any, text: str) -> None:
    assert json.dumps({"a": value}, cls=SafeFallbackEncoder) == f'{{"a": {text}}}'


def test_what_nan_becomes() -> None:
    assert SafeFallbackEncoder("none").default(math.nan) == "none"


def test_checks_of_numbers() -> None:
    values = [0.0, 1, math.nan, math.inf, -math.inf, np.float32("nan")]
    assert [bool(is_nan(value)) for value in values] == [False, False, True, False, False, True]
    assert [bool(is_nan_or_inf(value)) for value in values] == [False, False, *[True] * 4]


def test_a_reporter_with_a_queue() -> None:
    class Mine(CLIReporter, RemoteReporterMixin):
        def display(self, string: str) -> None:
            self.output_queue.put(string)

    mine = Mine()
    assert mine.output_queue is None
    mine.output_queue = Queue()
    mine.display("hello")
    assert mine.output_queue.get() == "hello"
    with pytest.raises(NotImplementedError, match="RemoteReporterMixin"):
        RemoteReporterMixin().display("hello")
