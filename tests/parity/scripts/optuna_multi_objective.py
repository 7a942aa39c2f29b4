"""Two objectives; the study does the trading off."""

import json

import prefect_tune as tune
from prefect_tune.search.optuna import OptunaSearch


def objective(config):
    tune.report({"loss": config["x"] ** 2, "gain": config["x"], "other": 1})


search = OptunaSearch(metric=["loss", "gain"], mode=["min", "max"])
results = tune.Tuner(
    objective,
    param_space={"x": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(search_alg=search, num_samples=6, max_concurrent_trials=2),
).fit()
best_loss = results.get_best_result("loss", "min").config
best_gain = results.get_best_result(metric="gain", mode="max").config
try:
    results.get_best_result()
    without_metric = "a result"
except ValueError:
    without_metric = "ValueError"
print(
    json.dumps(
        {
            "trials": len(results),
            "ordered": best_loss["x"] < best_gain["x"],
            "without_metric": without_metric,
        }
    )
)
