"""Which trial is the best depends on the scope."""

import json

import prefect_tune as tune

CURVES = {
    "late": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    "peak": [0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    "steady": [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
    "end": [0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8],
    "ten": [0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 5],
    "inf": [1, float("inf")],
    "nan": [1, float("nan"), float("nan")],
}


def curve(config):
    for value in CURVES[config["name"]]:
        tune.report({"score": value})


analysis = tune.run(curve, config={"name": tune.grid_search(list(CURVES))}, verbose=0)


def best(mode, scope, **more):
    trial = analysis.get_best_trial("score", mode, scope=scope, **more)
    return trial.config["name"] if trial else None


scopes = ["last", "avg", "last-5-avg", "last-10-avg", "all"]
summary = {mode: {scope: best(mode, scope) for scope in scopes} for mode in ("max", "min")}
summary["with_inf"] = best("max", "all", filter_nan_and_inf=False)
summary["missing"] = analysis.get_best_trial("no_such_metric", "max") is None
summary["config"] = analysis.get_best_config("score", "max", "all")
try:
    print(analysis.best_config)
    summary["no_metric"] = "nothing"
except ValueError:
    summary["no_metric"] = "ValueError"
try:
    analysis.get_best_trial("score", "biggest")
    summary["bad_mode"] = "nothing"
except ValueError:
    summary["bad_mode"] = "ValueError"
frame = analysis.dataframe(metric="score", mode="max")
summary["frame_max"] = {
    row["config/name"]: str(row["score"]) for _, row in frame.sort_values("config/name").iterrows()
}
print(json.dumps(summary))
