"""The user guide's own space: `uniform(100)`, `sample_from`, grids in lists, 10 x 3 x 3 trials."""

import json
import random

import numpy as np

import prefect_tune as tune


def trainable(config):
    return {"out": config["uniform"] + config["alpha"]}


analysis = tune.run(
    trainable,
    num_samples=10,
    config={
        "alpha": tune.sample_from(lambda spec: np.random.uniform(100)),
        "beta": tune.sample_from(lambda spec: spec.config.alpha * np.random.normal()),
        "uniform": tune.uniform(100),
        "nn_layers": [
            tune.grid_search([16, 64, 256]),
            tune.grid_search([16, 64, 256]),
        ],
        "drawn": tune.sample_from(lambda _: random.random()),
    },
    verbose=0,
)
configs = [trial.config for trial in analysis.trials]
print(
    json.dumps(
        {
            "trials": len(configs),
            "uniform": all(0 <= config["uniform"] <= 100 for config in configs),
            "first_layers": [config["nn_layers"] for config in configs[:9]],
            "distinct": len({config["drawn"] for config in configs}),
        }
    )
)
