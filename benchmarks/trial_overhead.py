"""What one trial costs beside its own work: sweeps of trials that report once and end."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.prefect_server import running_server
from benchmarks.subject import Values, overhead_values, seconds_since_start


def noop(config: dict[str, Any]) -> None:
    tune.report({"score": config["x"]})


def measure(*, trials: int, slots: int, orchestrate: bool, isolation: str = "process") -> Values:
    """Warm up with one trial per slot, then time `trials` no-op trials with default loggers."""
    tune.init(num_cpus=slots)
    try:
        _sweep(slots, orchestrate, isolation)
        start_s = seconds_since_start()
        began = time.perf_counter()
        _sweep(trials, orchestrate, isolation)
        run_s = time.perf_counter() - began
    finally:
        tune.shutdown()
    return overhead_values(start_s, run_s, trials)


def _sweep(trials: int, orchestrate: bool, isolation: str) -> None:
    tune.run(
        noop,
        num_samples=trials,
        config={"x": tune.uniform(0, 1)},
        resources_per_trial={"cpu": 1},
        storage_path=tempfile.mkdtemp(),
        verbose=0,
        orchestrate=orchestrate,
        isolation=isolation,
    )


def rows(bench: Bench) -> Iterator[Row]:
    slots = os.cpu_count() or 1
    trials = bench.size(200, quick=60)
    recorded = bench.ours("trial_overhead", trials=trials, slots=slots, orchestrate=True)
    plain = bench.ours("trial_overhead", trials=trials, slots=slots, orchestrate=False)
    thread = bench.ours(
        "trial_overhead",
        trials=bench.size(1000, quick=200),
        slots=slots,
        orchestrate=False,
        isolation="thread",
    )
    ray = bench.peer("ray_tune", "trial_overhead", label="Ray Tune", trials=8, slots=slots)
    reuse = bench.peer(
        "ray_tune",
        "trial_overhead",
        label="Ray Tune reuse_actors",
        trials=trials,
        slots=slots,
        reuse_actors=True,
    )
    syne = bench.peer("syne_tune", "trial_overhead", label="Syne Tune", trials=8, slots=slots)
    polling = bench.peer(
        "syne_tune",
        "trial_overhead",
        label="Syne Tune, 0.05 s polls",
        trials=8,
        slots=slots,
        poll_s=0.05,
    )
    with running_server() as api:
        server = {"PREFECT_API_URL": api}
        served = bench.ours(
            "trial_overhead", environment=server, trials=trials, slots=slots, orchestrate=True
        )
        dask = bench.peer(
            "prefect_dask",
            "trial_overhead",
            label="prefect-dask",
            environment=server,
            trials=40,
            slots=slots,
        )
    optuna = bench.peer(
        "optuna_inprocess", "trial_overhead", label="Optuna in process", trials=1000
    )
    sides = (
        ("Prefect embedded", recorded, [ray, reuse, syne, polling]),
        ("running Prefect server", served, [dask]),
        ("no Prefect", plain, [ray, reuse, syne, polling]),
        ("thread, no Prefect", thread, [optuna]),
    )
    for how, ours, peers in sides:
        yield from compare(f"no-op trial, {how}", "per_trial_ms", "ms", ours, peers)
    for how, ours, peers in sides[:3]:
        what = f"no-op trial of 200, start included, {how}"
        yield from compare(what, "per_trial_with_start_ms", "ms", ours, peers)
