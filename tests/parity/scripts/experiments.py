"""Experiments as objects and dicts; trainables and environments by name."""

import json
import os
import tempfile

import prefect_tune as tune
from prefect_tune import Experiment, register_env, register_trainable, run_experiments
from prefect_tune.experiment import Trial

root = tempfile.mkdtemp()


def train(config):
    for step in range(config.get("steps", 2)):
        tune.report({"score": config["a"] * (step + 1)})


class Steps(tune.Trainable):
    def step(self):
        return {"score": self.config["a"]}


register_trainable("by_name", lambda config: tune.report({"score": config["a"] + 0.5}))
register_env("pole", lambda config: None)

summary = {}
trials = run_experiments(
    {
        "first": {
            "run": train,
            "config": {"a": tune.grid_search([1, 2])},
            "storage_path": root,
        },
        "second": {
            "run": Steps,
            "config": {"a": 5},
            "stop": {"training_iteration": 3},
            "num_samples": 2,
            "storage_path": root,
        },
    },
    verbose=0,
)
summary["dict"] = {
    "scores": sorted(trial.last_result["score"] for trial in trials),
    "iterations": sorted(trial.last_result["training_iteration"] for trial in trials),
    "are_trials": all(isinstance(trial, Trial) for trial in trials),
    "directories": sorted(name for name in os.listdir(root) if name in ("first", "second")),
    "statuses": sorted({trial.status for trial in trials}),
}
experiment = Experiment(
    "third", "by_name", config={"a": tune.grid_search([1, 2])}, storage_path=root, num_samples=2
)
analysis = tune.run(experiment, metric="score", mode="max", verbose=0)
summary["object"] = {
    "trials": len(analysis.trials),
    "best": analysis.best_config,
    "run_identifier": experiment.run_identifier,
    "directory": os.path.basename(analysis.experiment_path),
    "trial_names": sorted({str(trial).split("_")[0] for trial in analysis.trials}),
}
one_by_one = run_experiments(
    [
        Experiment("fourth", train, config={"a": 1}, storage_path=root),
        Experiment("fifth", train, config={"a": 2, "steps": 3}, storage_path=root),
    ],
    concurrent=False,
    verbose=0,
)
summary["one_by_one"] = [trial.last_result["score"] for trial in one_by_one]
try:
    register_trainable("number", 3)
except TypeError:
    summary["not_callable"] = True
print(json.dumps(summary))
