"""How long `report()` takes when the trial must wait for a decision."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import Values, latency_summary


def awaiting(config: dict[str, Any]) -> None:
    latency_s = None
    for _ in range(config["reports"]):
        time.sleep(config["pause_s"])
        began = time.perf_counter()
        # Each report carries how long the one before it took; the first has none to tell.
        tune.report({"latency_s": latency_s})
        latency_s = time.perf_counter() - began


def never(trial_id: str, result: dict[str, Any]) -> bool:
    """A stopper nothing is known about: every result has to be decided on."""
    return False


class _Latencies(tune.Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if result["latency_s"] is not None:
            self.seconds.append(result["latency_s"])


def measure(*, trials: int, reports: int, pause_s: float) -> Values:
    """Let `trials` trials at once report `reports` times, `pause_s` seconds apart."""
    latencies = _Latencies()
    tune.init(num_cpus=trials)
    try:
        tune.run(
            awaiting,
            num_samples=trials,
            config={"reports": reports, "pause_s": pause_s},
            resources_per_trial={"cpu": 1},
            stop=never,
            storage_path=tempfile.mkdtemp(),
            callbacks=[latencies],
            verbose=0,
            orchestrate=False,
        )
    finally:
        tune.shutdown()
    return latency_summary(latencies.seconds)


def rows(bench: Bench) -> Iterator[Row]:
    single = bench.ours(
        "decision_latency", trials=1, reports=bench.size(1000, quick=200), pause_s=0.005
    )
    ray = bench.peer(
        "ray_tune", "decision_latency", label="Ray Tune", trials=1, reports=200, pause_s=0.005
    )
    yield from compare("awaited decision, median", "median_ms", "ms", single, [ray])
    yield from compare("awaited decision, p99", "p99_ms", "ms", single, [ray])
    # Ray starts a full interpreter per trial: 256 of them do not fit on a small machine.
    crowd = bench.ours(
        "decision_latency",
        trials=bench.size(256, quick=32),
        reports=bench.size(20, quick=10),
        pause_s=1.0,
    )
    yield from compare("awaited decision of many trials, median", "median_ms", "ms", crowd, [])
    yield from compare("awaited decision of many trials, p99", "p99_ms", "ms", crowd, [])
