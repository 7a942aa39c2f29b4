"""An experiment with a failed and a diverged trial, read back from its directory."""

import json
import math
import os
import tempfile

import prefect_tune as tune
from prefect_tune import ExperimentAnalysis, Result, ResultGrid


def train(config):
    for i in range(config["n"]):
        value = config["a"] * math.sin(i + config["a"])
        if config["a"] == 3 and i == 2:
            value = float("nan")
        if config["a"] == 4 and i == 1:
            raise ValueError("bad a")
        tune.report({"score": value, "val": {"loss": -value}})


root = tempfile.mkdtemp()
tune.Tuner(
    train,
    param_space={
        "n": tune.grid_search([3, 8]),
        "a": tune.grid_search([1, 2, 3, 4]),
        "net": {"units": 8},
    },
    run_config=tune.RunConfig(name="exp", storage_path=root, verbose=0),
).fit()
analysis = ExperimentAnalysis(os.path.join(root, "exp"))
grid = ResultGrid(analysis)
best = {}
for scope in ("last", "avg", "last-5-avg", "last-10-avg", "all"):
    for mode in ("min", "max"):
        trial = analysis.get_best_trial("score", mode, scope)
        best[f"{scope} {mode}"] = [trial.config["n"], trial.config["a"]]
frames = {
    mode: sorted(round(score, 9) for score in analysis.dataframe("score", mode)["score"])
    for mode in ("min", "max")
}
some = next(trial for trial in analysis.trials if trial.config["a"] == 2 and trial.config["n"] == 8)
result = Result.from_path(os.path.join(root, "exp", os.path.basename(some.path)))
print(
    json.dumps(
        {
            "best": best,
            "frames": frames,
            "statuses": sorted([t.config["n"], t.config["a"], t.status] for t in analysis.trials),
            "analysis": {k: round(v, 9) for k, v in some.metric_analysis["score"].items()},
            "lengths": sorted(len(frame) for frame in analysis.trial_dataframes.values()),
            "by_id": [
                len(analysis.trial_dataframes[some.trial_id]) == some.config["n"],
                analysis.get_all_configs()[some.trial_id] == some.config,
                some.trial_id in analysis.results_df.index,
            ],
            "columns": [
                name
                for name in ("score", "val/loss", "config/a", "config/net/units", "logdir")
                if name in grid.get_dataframe().columns
            ],
            "counts": [len(grid), grid.num_errors, grid.num_terminated, len(grid.errors)],
            "from_path": [
                result.config == some.config,
                result.metrics["training_iteration"] == some.config["n"],
                result.error is None,
                len(result.metrics_dataframe) == some.config["n"],
            ],
        }
    )
)
