"""How fast a search space of ten parameters is turned into concrete configurations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import Values
from prefect_tune.space import generate_variants


def space() -> dict[str, Any]:
    return {
        "lr": tune.loguniform(1e-5, 1e-1),
        "momentum": tune.uniform(0.5, 0.99),
        "dropout": tune.quniform(0.0, 0.5, 0.05),
        "noise": tune.randn(0.0, 1.0),
        "layers": tune.randint(1, 8),
        "width": tune.lograndint(8, 1024),
        "batch": tune.qrandint(16, 256, 16),
        "activation": tune.choice(["relu", "tanh", "gelu"]),
        "optimiser": tune.choice(["sgd", "adam"]),
        "decay": tune.sample_from(lambda spec: spec.config.lr / 10),
    }


def measure(*, variants: int) -> Values:
    """Draw `variants` configurations of the space, as a sweep of that many samples does."""
    began = time.perf_counter()
    drawn = sum(1 for _ in generate_variants(space(), num_samples=variants))
    if drawn != variants:
        raise RuntimeError(f"{drawn} configurations came out of {variants} samples")
    return {"resolve_s": time.perf_counter() - began}


def rows(bench: Bench) -> Iterator[Row]:
    variants = bench.size(10_000, quick=2000)
    peers = [
        bench.peer("ray_tune", "space_resolution", label="Ray Tune", variants=variants),
        bench.peer(
            "optuna_inprocess", "space_resolution", label="Optuna random ask", variants=variants
        ),
    ]
    ours = bench.ours("space_resolution", variants=variants)
    what = f"{variants:,} configurations of 10 parameters"
    yield from compare(what, "resolve_s", "s", ours, peers)
