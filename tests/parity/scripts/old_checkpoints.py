"""Ways of the years to get at the best trial's checkpoint; `f(config, checkpoint_dir=None)`."""

import json
import os
import pickle
from functools import partial

import prefect_tune as tune
from prefect_tune.schedulers import ASHAScheduler


def train(config, checkpoint_dir=None, data_dir=None):
    weight = 0.0
    if checkpoint_dir:
        with open(os.path.join(checkpoint_dir, "checkpoint"), "rb") as file:
            weight = pickle.load(file)
    for epoch in range(4):
        weight += config["lr"]
        with tune.checkpoint_dir(epoch) as directory:
            path = os.path.join(directory, "checkpoint")
            with open(path, "wb") as file:
                pickle.dump(weight, file)
        tune.report(loss=(1 - weight) ** 2, accuracy=weight)


class Watch(tune.Callback):
    seen = 0

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        Watch.seen += os.path.isdir(trial.checkpoint.value)


result = tune.run(
    partial(train, data_dir="data"),
    resources_per_trial={"cpu": 1, "gpu": 0},
    config={"lr": tune.grid_search([0.125, 0.25])},
    scheduler=ASHAScheduler(metric="loss", mode="min", max_t=4, grace_period=4),
    callbacks=[Watch()],
    verbose=0,
)
best_trial = result.get_best_trial("loss", "min", "last")


def weight_in(directory):
    with open(os.path.join(directory, "checkpoint"), "rb") as file:
        return pickle.load(file)


with best_trial.checkpoint.as_directory() as as_directory:
    in_directory = weight_in(as_directory)
print(
    json.dumps(
        {
            "lr": best_trial.config["lr"],
            "value": weight_in(best_trial.checkpoint.value),
            "dir_or_data": weight_in(best_trial.checkpoint.dir_or_data),
            "air": weight_in(best_trial.checkpoint.to_air_checkpoint().to_directory()),
            "path": weight_in(best_trial.checkpoint.path),
            "as_directory": in_directory,
            "metrics": best_trial.checkpoint.metrics["accuracy"],
            "same": best_trial.checkpoint == result.get_best_checkpoint(best_trial, "loss", "min"),
            "of_analysis": weight_in(result.get_best_checkpoint(best_trial, "loss", "min")),
            "has": [trial.has_checkpoint() for trial in result.trials],
            "in_callbacks": Watch.seen,
        }
    )
)
