"""A script of Ray 2.0 to 2.3: `air`, `session.report`, `air.RunConfig(local_dir=...)`."""

import json
import os
import tempfile

from prefect_tune import air, tune
from prefect_tune.air import session
from prefect_tune.air.config import FailureConfig
from prefect_tune.tuner import Tuner


class PrintResult(tune.Callback):
    def __init__(self):
        self.seen = 0

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.seen += 1
        print(f"Got result: {result['metric']}")


def trainable(config):
    score = config["a"]
    for epoch in range(6):
        score = score**0.5 + config["b"] + epoch
        session.report({"metric": score, "name": session.get_trial_name()})


callback = PrintResult()
tuner = Tuner(
    tune.with_resources(trainable, {"cpu": 1}),
    param_space={"a": tune.choice([1, 4]), "b": tune.grid_search([0.0, 1.0, 2.0])},
    tune_config=tune.TuneConfig(metric="metric", mode="max", num_samples=1, reuse_actors=True),
    run_config=air.RunConfig(
        name="air_run",
        local_dir=tempfile.mkdtemp(),
        stop={"training_iteration": 4},
        callbacks=[callback],
        failure_config=FailureConfig(fail_fast=False),
        verbose=2,
    ),
)
results = tuner.fit()
best = results.get_best_result()

print(
    json.dumps(
        {
            "trials": len(results),
            "best_b": best.config["b"],
            "iterations": [r.metrics["training_iteration"] for r in results],
            "name": best.metrics["name"].startswith("trainable_"),
            "log_dir": os.path.isfile(best.log_dir / "result.json"),
            "callback": callback.seen,
            "again": tuner.get_results() is results,
            "frame": len(best.metrics_dataframe),
        }
    )
)
