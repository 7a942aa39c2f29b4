"""How `tune.run` treats failed trials: raise at the end, not at all, at once, or try again."""

import json
import os

import prefect_tune as tune
from prefect_tune import TuneError


def train(config):
    for i in range(4):
        if config["x"] == 1 and i == 2:
            raise RuntimeError("second trial breaks")
        tune.report({"i": i})


def flaky(config):
    marker = os.path.join(tune.get_context().get_trial_dir(), "tries.txt")
    with open(marker, "a") as file:
        file.write("x")
    tune.report({"tries": os.path.getsize(marker)})
    if os.path.getsize(marker) < 3:
        raise RuntimeError("not yet")
    tune.report({"tries": os.path.getsize(marker)})


grid = {"x": tune.grid_search([0, 1, 2, 3])}
summary = {}
try:
    tune.run(train, config=grid, verbose=0)
    summary["default"] = "nothing"
except TuneError:
    summary["default"] = "TuneError"

analysis = tune.run(train, config=grid, raise_on_failed_trial=False, verbose=0)
summary["kept"] = [[t.status, t.last_result["training_iteration"]] for t in analysis.trials]

analysis = tune.run(
    train,
    config=grid,
    fail_fast=True,
    max_concurrent_trials=1,
    raise_on_failed_trial=False,
    verbose=0,
)
summary["fail_fast"] = sorted(trial.status for trial in analysis.trials)

try:
    tune.run(train, config=grid, fail_fast="raise", verbose=0)
    summary["raise"] = "nothing"
except RuntimeError as error:
    summary["raise"] = "second trial breaks" in str(error)

try:
    tune.run(train, config=grid, fail_fast=True, max_failures=2, verbose=0)
    summary["both"] = "nothing"
except ValueError:
    summary["both"] = "ValueError"

analysis = tune.run(flaky, max_failures=2, verbose=0)
(trial,) = analysis.trials
with open(os.path.join(trial.local_path, "result.json")) as file:
    rows = [json.loads(line) for line in file]
summary["retried"] = [trial.status, trial.last_result["tries"]]
summary["logged"] = [row["tries"] for row in rows]
analysis = tune.run(flaky, max_failures=1, raise_on_failed_trial=False, verbose=0)
summary["gave_up"] = [analysis.trials[0].status, analysis.trials[0].last_result["tries"]]
print(json.dumps(summary))
