"""Placing trials of mixed sizes on a thousand nodes: time per trial, and how busy the nodes are."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import Values
from prefect_tune.coordinator.events import Node
from prefect_tune.resources import PlacementGroupFactory, Resources
from tests.coordinator.placement_sweep import sweep

GROUPS = [
    ([4] * 4, "SPREAD"),
    ([8] * 8, "STRICT_SPREAD"),
    ([2, 4, 4, 4], "PACK"),
    ([1, 3, 4], "STRICT_PACK"),
]
"""CPUs of the bundles of one trial, and their strategy."""


def measure(*, nodes: int, trials: int, groups: bool) -> Values:
    """Run trials of one to eight CPUs, half of them with several bundles, in simulated time."""
    rng = random.Random(4)
    requests = [Resources.of(CPU=cpus) for cpus in (1, 2, 4, 8)]
    if groups:
        for bundles, strategy in GROUPS:
            cpus = [{"CPU": float(amount)} for amount in bundles]
            requests.append(Resources.parse(PlacementGroupFactory(cpus, strategy)))
    jobs = [(rng.choice(requests), rng.uniform(0.5, 1.5)) for _ in range(trials)]
    cluster = [Node(f"n{number}", Resources.of(CPU=8)) for number in range(nodes)]
    began = time.process_time()
    outcome = sweep(cluster, jobs)
    seconds = time.process_time() - began
    return {"placement_us": seconds / trials * 1e6, "busy_percent": outcome.utilisation * 100}


def rows(bench: Bench) -> Iterator[Row]:
    trials = bench.size(20_000, quick=2000)
    for groups, what in ((False, "one bundle"), (True, "half with several bundles")):
        placed = bench.ours("placement", nodes=1000, trials=trials, groups=groups)
        named = f"1,000 nodes, {what}"
        yield from compare(f"{named}: CPU per trial", "placement_us", "us", placed, [])
        yield from compare(f"{named}: nodes busy", "busy_percent", "%", placed, [])
