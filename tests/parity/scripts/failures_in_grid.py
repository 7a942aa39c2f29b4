"""A `Tuner` keeps going when trials fail and shows the errors in its results."""

import json
import os

import prefect_tune as tune
from prefect_tune import ResultGrid


def brittle(config):
    tune.report({"score": config["x"]})
    if config["x"] == 1:
        raise ValueError("x must not be 1")
    tune.report({"score": config["x"] * 10})


tuner = tune.Tuner(
    brittle,
    param_space={"x": tune.grid_search([0, 1, 2])},
    tune_config=tune.TuneConfig(metric="score", mode="max"),
    run_config=tune.RunConfig(failure_config=tune.FailureConfig(max_failures=0)),
)
results: ResultGrid = tuner.fit()

seen = []
for i in range(len(results)):
    result = results[i]
    if result.error:
        seen.append([i, "error", isinstance(result.error, ValueError), result.metrics["score"]])
        failed = result
    else:
        seen.append([i, "ok", result.metrics["score"], result.metrics["training_iteration"]])

with open(os.path.join(failed.path, "error.txt")) as file:
    text = file.read()
print(
    json.dumps(
        {
            "seen": seen,
            "num_errors": results.num_errors,
            "num_terminated": results.num_terminated,
            "errors": len(results.errors),
            "message": "x must not be 1" in str(results.errors[0]),
            "error_txt": "x must not be 1" in text,
            "error_pkl": os.path.exists(os.path.join(failed.path, "error.pkl")),
            "best": results.get_best_result().config,
            "rows": len(results.get_dataframe()),
            "best_rows": sorted(results.get_dataframe("score", "min")["score"]),
            "experiment_path": os.path.isdir(results.experiment_path),
            "frame": list(results[2].metrics_dataframe["score"]),
        }
    )
)
