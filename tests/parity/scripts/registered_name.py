"""A trainable that is known by a name."""

import json

import prefect_tune as tune
from prefect_tune import register_trainable


def square(config):
    tune.report({"y": config["x"] ** 2})


register_trainable("squares", square)
register_trainable("inline", lambda config: tune.report({"y": config["x"]}))
analysis = tune.run("squares", config={"x": tune.grid_search([1, 2, 3])}, verbose=0)
inline = tune.run("inline", config={"x": 5}, verbose=0)
summary = {
    "ys": [trial.last_result["y"] for trial in analysis.trials],
    "name": str(analysis.trials[0]).split("_")[0],
    "inline": [trial.last_result["y"] for trial in inline.trials],
}
for name, call in {
    "unknown": lambda: tune.run("no_such_name", verbose=0),
    "not_callable": lambda: register_trainable("bad", 5),
}.items():
    try:
        call()
        summary[name] = "nothing"
    except (tune.TuneError, TypeError):
        summary[name] = "error"
print(json.dumps(summary))
