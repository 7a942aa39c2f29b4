"""Every hook of a callback, in order: checkpoints, a retry that goes on, one that fails again."""

import json
import os
import tempfile

import prefect_tune as tune
from prefect_tune import Callback

calls = []


class Recorder(Callback):
    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        calls.append(["setup", stop, num_samples, total_num_samples, sorted(info.items())])

    def on_trial_start(self, iteration, trials, trial, **info):
        self.add("start", iteration, trials, trial, info)

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.add("result", iteration, trials, trial, info)
        calls[-1] += [result["metric"], result["training_iteration"], result["done"]]

    def on_trial_save(self, iteration, trials, trial, **info):
        self.add("save", iteration, trials, trial, info)

    def on_trial_recover(self, iteration, trials, trial, **info):
        self.add("recover", iteration, trials, trial, info)

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.add("complete", iteration, trials, trial, info)

    def on_trial_error(self, iteration, trials, trial, **info):
        self.add("error", iteration, trials, trial, info)

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        self.add("checkpoint", iteration, trials, trial, info)
        with checkpoint.as_directory() as directory, open(os.path.join(directory, "i")) as file:
            calls[-1].append(file.read())

    def on_experiment_end(self, trials, **info):
        calls.append(["end", len(trials), info])

    def add(self, hook, iteration, trials, trial, info):
        assert isinstance(iteration, int)
        calls.append([hook, trial.config["a"], len(trials), info])


def train_func(config):
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory, open(os.path.join(directory, "i")) as file:
            start = int(file.read()) + 1
    for i in range(start, 3):
        if config["a"] == 2 and i == 1:
            raise ValueError("again and again")
        if config["a"] == 3 and i == 2 and start == 0:
            raise ValueError("once")
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "i"), "w") as file:
                file.write(str(i))
            saved = tune.Checkpoint.from_directory(directory)
            tune.report({"metric": config["a"] * i}, checkpoint=saved)


tuner = tune.Tuner(
    train_func,
    param_space={"a": tune.grid_search([1, 2, 3])},
    tune_config=tune.TuneConfig(max_concurrent_trials=1),
    run_config=tune.RunConfig(
        callbacks=[Recorder()],
        storage_path=tempfile.mkdtemp(),
        failure_config=tune.FailureConfig(max_failures=1),
        verbose=0,
    ),
)
results = tuner.fit()
print(json.dumps({"calls": calls, "errors": results.num_errors}))
