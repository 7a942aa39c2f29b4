"""Regret over simulated time, of schedulers and searchers on a model with a known optimum.

`python -m benchmarks.regret [PICTURE]` prints what docs/benchmarks.md shows, and draws its picture.
`python -m benchmarks regret` runs the schedulers that Ray Tune has on the same model with its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import prefect_tune as tune
from benchmarks.measure import Bench, Row
from benchmarks.regret_streams import BUDGET_S, WAYS, regret_values
from benchmarks.subject import Values
from prefect_tune import schedulers
from prefect_tune.search.bohb import TuneBOHB

SEEDS = 5


def measure(*, way: str, seeds: int) -> Values:
    """The regret of a way to search with our scheduler."""
    return regret_values(schedulers, schedulers.PopulationBasedTraining, schedulers.PB2, way, seeds)


def rows(bench: Bench) -> Iterator[Row]:
    """Our regret beside that of Ray Tune's scheduler, in the same simulated time."""
    for way in WAYS:
        arguments = {"way": way, "seeds": bench.size(SEEDS, quick=1)}
        ours = bench.ours("regret", **arguments)
        ray = bench.peer("ray_tune", "regret", label="Ray Tune", **arguments)
        for name in ours.values or [""]:
            found = ours.values.get(name), ray.values.get(name)
            problem = ours.problem or ray.problem or ""
            yield Row(f"{way}: {name}", "", found[0], "Ray Tune", found[1], None, problem)


def ways() -> dict[str, dict[str, object]]:
    """What is compared; those that make copies change the settings of 20 trials."""
    rungs = {"max_t": 81, "grace_period": 1, "reduction_factor": 3}
    interval = {"time_attr": "training_iteration", "perturbation_interval": 9}
    mutations = {
        "lr": tune.loguniform(1e-4, 1.0),
        "units": [32, 64, 128, 256, 512],
        "dropout": tune.uniform(0.0, 0.6),
    }
    bounds = {"lr": [1e-4, 1.0], "dropout": [0.0, 0.6]}
    return {
        "random": {},
        "ASHA": {"scheduler": schedulers.ASHAScheduler(**rungs)},
        "promotion ASHA": {"scheduler": schedulers.PromotionASHAScheduler(**rungs)},
        "HyperBand": {"scheduler": schedulers.HyperBandScheduler(max_t=81)},
        "BOHB": {
            "scheduler": schedulers.HyperBandForBOHB(max_t=81),
            "search_alg": TuneBOHB(),
        },
        "PBT": {
            "scheduler": schedulers.PopulationBasedTraining(
                **interval, hyperparam_mutations=mutations, log_config=False
            ),
            "num_samples": 20,
        },
        "PB2": {
            "scheduler": schedulers.PB2(**interval, hyperparam_bounds=bounds, log_config=False),
            "num_samples": 20,
        },
    }


def main() -> None:
    """Simulate, print, draw."""
    found = tune.compare(ways(), "network", seeds=SEEDS, time_budget_s=BUDGET_S, num_samples=-1)
    print(found)
    for part in (0.25, 0.5, 1.0):
        place = part * BUDGET_S / 3600
        medians = (
            f"{name} {sorted(found.regret_at(name, place))[SEEDS // 2]:.3f}"
            for name in found.outcomes
        )
        print(f"after {part:.0%} of the time: {', '.join(medians)}")
    if len(sys.argv) > 1:
        found.plot(path=sys.argv[1])


if __name__ == "__main__":
    main()
