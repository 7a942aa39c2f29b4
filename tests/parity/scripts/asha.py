"""ASHA with a grace period stops weak trials at its rungs."""

import json

import prefect_tune as tune
from prefect_tune.schedulers import ASHAScheduler


def train_fn(config):
    for i in range(1, 31):
        accuracy = config["quality"] * (1 - 0.9**i)
        tune.report({"mean_accuracy": accuracy})


asha = ASHAScheduler(grace_period=3, max_t=27, reduction_factor=3)
tuner = tune.Tuner(
    train_fn,
    param_space={"quality": tune.grid_search([0.5, 0.9, 0.7, 0.4, 0.8, 0.95, 0.3, 0.6, 0.99])},
    tune_config=tune.TuneConfig(
        scheduler=asha, metric="mean_accuracy", mode="max", max_concurrent_trials=1
    ),
)
results = tuner.fit()

print(
    json.dumps(
        {
            "iterations": {
                str(r.config["quality"]): r.metrics["training_iteration"] for r in results
            },
            "done": [r.metrics["done"] for r in results],
            "terminated": results.num_terminated,
            "best": results.get_best_result().config,
            "best_of_all": results.get_best_result("mean_accuracy", "max", scope="all").config,
            "debug": "AsyncHyperBand" in asha.debug_string(),
        }
    )
)
