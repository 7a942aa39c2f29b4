"""What a logger is told, in which order, with a retry and checkpoints."""

import json
import os
import tempfile

import prefect_tune as tune
from prefect_tune.logger import LoggerCallback

calls = []


class MyLogger(LoggerCallback):
    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        calls.append(["setup", stop, num_samples, total_num_samples])

    def log_trial_start(self, trial):
        calls.append(["start", trial.config["a"]])

    def log_trial_save(self, trial):
        calls.append(["save", trial.config["a"]])

    def log_trial_result(self, iteration, trial, result):
        calls.append(["result", trial.config["a"], result["metric"], result["config"]["a"]])

    def log_trial_end(self, trial, failed=False):
        calls.append(["end", trial.config["a"], failed])

    def on_experiment_end(self, trials, **info):
        calls.append(["experiment_end", len(trials)])


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
        callbacks=[MyLogger()],
        storage_path=tempfile.mkdtemp(),
        failure_config=tune.FailureConfig(max_failures=1),
        verbose=0,
    ),
)
tuner.fit()
print(json.dumps({"calls": calls}))
