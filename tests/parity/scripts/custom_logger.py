"""A logger of one's own beside the default ones."""

import json
import os

import prefect_tune as tune
from prefect_tune.logger import CSVLoggerCallback, JsonLoggerCallback, LoggerCallback


class CustomLoggerCallback(LoggerCallback):
    """Writes one text file per trial."""

    def __init__(self, filename="log.txt"):
        self._trial_files = {}
        self._filename = filename

    def log_trial_start(self, trial):
        path = os.path.join(trial.local_path, self._filename)
        self._trial_files[trial] = open(path, "a")  # noqa: SIM115

    def log_trial_result(self, iteration, trial, result):
        if trial in self._trial_files:
            self._trial_files[trial].write(f"{result['training_iteration']}:{result['x']}\n")

    def log_trial_end(self, trial, failed=False):
        if trial in self._trial_files:
            self._trial_files[trial].write("failed\n" if failed else "done\n")
            self._trial_files[trial].close()
            del self._trial_files[trial]


def train(config):
    for i in range(3):
        tune.report({"x": config["start"] + i})
    if config["start"] == 10:
        raise RuntimeError("planned")


analysis = tune.run(
    train,
    config={"start": tune.grid_search([0, 10])},
    callbacks=[CustomLoggerCallback("my.log"), JsonLoggerCallback(), CSVLoggerCallback()],
    raise_on_failed_trial=False,
    verbose=0,
)
logs = []
for trial in analysis.trials:
    with open(os.path.join(trial.local_path, "my.log")) as f:
        logs.append(f.read().split())
print(json.dumps({"logs": logs, "statuses": [trial.status for trial in analysis.trials]}))
