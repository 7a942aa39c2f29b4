"""A callback that prints, and what it is told, in which order."""

import json

import prefect_tune as tune
from prefect_tune import Callback

calls = []


class MyCallback(Callback):
    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        calls.append(["setup", stop, num_samples, total_num_samples])

    def on_trial_start(self, iteration, trials, trial, **info):
        calls.append(["start", trial.config["a"]])

    def on_trial_result(self, iteration, trials, trial, result, **info):
        print(f"Got result: {result['metric']} of {trial}, {len(trials)} trials")
        calls.append(["result", trial.config["a"], result["metric"], result["done"]])

    def on_trial_complete(self, iteration, trials, trial, **info):
        calls.append(["complete", trial.config["a"], trial.last_result["done"]])

    def on_trial_error(self, iteration, trials, trial, **info):
        calls.append(["error", trial.config["a"], trial.status])

    def on_experiment_end(self, trials, **info):
        calls.append(["end", len(trials)])


def train_func(config):
    for i in range(3):
        if config["a"] == 2 and i == 1:
            raise ValueError("no more")
        tune.report({"metric": config["a"] * i})


tuner = tune.Tuner(
    train_func,
    param_space={"a": tune.grid_search([1, 2, 3])},
    tune_config=tune.TuneConfig(max_concurrent_trials=1),
    run_config=tune.RunConfig(callbacks=[MyCallback()], stop={"metric": 6}),
)
results = tuner.fit()
print(json.dumps({"calls": calls, "errors": results.num_errors}))
