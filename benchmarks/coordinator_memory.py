"""Memory that a finished trial leaves behind in the process that coordinates the sweep."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import MemorySlope, Values
from benchmarks.trial_overhead import noop


class _Counter(tune.Callback):
    def __init__(self, slope: MemorySlope) -> None:
        self._slope = slope

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        self._slope.trial_finished()


def measure(*, trials: int, traced: bool, orchestrate: bool) -> Values:
    """Run no-op trials; the in-process cluster and the loggers count as the coordinator's.

    Trials run as threads here: where a trial runs makes no difference to what is kept of it.
    """
    slope = MemorySlope(trials, traced=traced)
    tune.init(num_cpus=os.cpu_count())
    try:
        tune.run(
            noop,
            num_samples=trials,
            config={"x": tune.uniform(0, 1)},
            resources_per_trial={"cpu": 1},
            storage_path=tempfile.mkdtemp(),
            callbacks=[_Counter(slope)],
            verbose=0,
            orchestrate=orchestrate,
            isolation="thread",
        )
    finally:
        tune.shutdown()
    return slope.values()


def rows(bench: Bench) -> Iterator[Row]:
    trials = bench.size(4000, quick=800)
    slots = os.cpu_count() or 1
    for traced, kind in ((False, "resident"), (True, "allocated")):
        ours = bench.ours("coordinator_memory", trials=trials, traced=traced, orchestrate=False)
        ray = bench.peer(
            "ray_tune",
            "coordinator_memory",
            label="Ray Tune reuse_actors",
            trials=bench.size(1000, quick=200),
            traced=traced,
            slots=slots,
        )
        optuna = bench.peer(
            "optuna_inprocess",
            "coordinator_memory",
            label="Optuna in process",
            trials=trials,
            traced=traced,
        )
        yield from compare(
            f"memory per finished trial, {kind}", "kb_per_trial", "kB", ours, [ray, optuna]
        )
    recorded = bench.ours(
        "coordinator_memory", trials=bench.size(1000, quick=400), traced=False, orchestrate=True
    )
    yield from compare("memory per finished trial, Prefect on", "kb_per_trial", "kB", recorded, [])
