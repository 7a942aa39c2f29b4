"""How many results a second reach the driver when nothing has to be decided."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import ResultClock, Values
from prefect_tune.logger import CSVLoggerCallback, JsonLoggerCallback


def stream(config: dict[str, Any]) -> None:
    for step in range(config["results"]):
        tune.report({"score": step})


class _Clocked(tune.Callback):
    def __init__(self, clock: ResultClock) -> None:
        self._clock = clock

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        self._clock.result()


def measure(*, trials: int, results: int, loggers: str) -> Values:
    """Let `trials` trials at once report `results` results each, as fast as they can.

    Args:
        trials: Number of trials, all running at once.
        results: Results per trial.
        loggers: "none", "csv+json", or "default" (those and TensorBoard).
    """
    if loggers != "default":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    clock = ResultClock()
    callbacks: list[tune.Callback] = [_Clocked(clock)]
    if loggers == "csv+json":
        callbacks += [CSVLoggerCallback(), JsonLoggerCallback()]
    tune.init(num_cpus=trials)
    try:
        tune.run(
            stream,
            num_samples=trials,
            config={"results": results},
            resources_per_trial={"cpu": 1},
            storage_path=tempfile.mkdtemp(),
            callbacks=callbacks,
            verbose=0,
            orchestrate=False,
        )
        return clock.values(expected=trials * results)
    finally:
        tune.shutdown()


def rows(bench: Bench) -> Iterator[Row]:
    slots = os.cpu_count() or 1
    for loggers in ("none", "csv+json", "default"):
        ours = bench.ours(
            "streamed_results",
            trials=slots,
            results=bench.size(50_000, quick=10_000),
            loggers=loggers,
        )
        ray = bench.peer(
            "ray_tune",
            "streamed_results",
            label="Ray Tune",
            trials=slots,
            results=bench.size(2000, quick=500),
            loggers=loggers,
        )
        yield from compare(
            f"streamed results, loggers: {loggers}",
            "results_per_s",
            "/s",
            ours,
            [ray],
            better="higher",
        )
