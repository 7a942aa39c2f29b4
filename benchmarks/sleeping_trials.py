"""How far a sweep of trials that sleep one second is over the ideal time on 16 slots."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import Values, sleeping_values

SLOTS = 16
SECONDS = 1.0


def sleeping(config: dict[str, Any]) -> None:
    time.sleep(config["seconds"])
    tune.report({"score": config["x"]})


def measure(*, trials: int, slots: int, seconds: float, orchestrate: bool) -> Values:
    """Warm up with one trial per slot, then time `trials` trials that sleep and report once."""
    tune.init(num_cpus=slots)
    try:
        _sweep(slots, 0.0, orchestrate)
        began = time.perf_counter()
        _sweep(trials, seconds, orchestrate)
        run_s = time.perf_counter() - began
    finally:
        tune.shutdown()
    return sleeping_values(run_s, trials, slots, seconds)


def _sweep(trials: int, seconds: float, orchestrate: bool) -> None:
    tune.run(
        sleeping,
        num_samples=trials,
        config={"x": tune.uniform(0, 1), "seconds": seconds},
        resources_per_trial={"cpu": 1},
        storage_path=tempfile.mkdtemp(),
        verbose=0,
        orchestrate=orchestrate,
    )


def rows(bench: Bench) -> Iterator[Row]:
    sizes: dict[str, Any] = {"slots": SLOTS, "seconds": SECONDS}
    trials = bench.size(10_000, quick=1000)
    timeout_s = 60 + 2 * trials / SLOTS * SECONDS
    plain = bench.ours(
        "sleeping_trials", timeout_s=timeout_s, trials=trials, orchestrate=False, **sizes
    )
    peers = [
        bench.peer("ray_tune", "sleeping_trials", label="Ray Tune", trials=64, **sizes),
        bench.peer(
            "ray_tune",
            "sleeping_trials",
            label="Ray Tune reuse_actors",
            trials=bench.size(1000, quick=160),
            reuse_actors=True,
            **sizes,
        ),
        bench.peer("syne_tune", "sleeping_trials", label="Syne Tune", trials=32, **sizes),
        bench.peer(
            "optuna_inprocess",
            "sleeping_trials",
            label="Optuna, threads",
            trials=bench.size(1000, quick=160),
            **sizes,
        ),
    ]
    what = "trials of 1 s on 16 slots, over ideal"
    yield from compare(what, "over_ideal_percent", "%", plain, peers)
    # Small enough for every attempt to be recorded as a task run.
    recorded = bench.ours(
        "sleeping_trials", trials=bench.size(1000, quick=160), orchestrate=True, **sizes
    )
    yield from compare(f"{what}, Prefect on", "over_ideal_percent", "%", recorded, peers[:2])
