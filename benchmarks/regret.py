"""Regret over simulated time, of schedulers and searchers on a model with a known optimum.

`python -m benchmarks.regret [PICTURE]` prints what docs/benchmarks.md shows, and draws its picture.
"""

from __future__ import annotations

import sys

import prefect_tune as tune
from prefect_tune import schedulers
from prefect_tune.search.bohb import TuneBOHB

#: As long as 20 trials of average length take on the 8 slots.
BUDGET_S = 20 * 81 * 10 / 8
SEEDS = 5


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
