"""Data that every trial needs is given once."""

import json
from functools import partial

import numpy as np

import prefect_tune as tune


def train(config, data=None, labels=None, scale=1):
    tune.report({"sum": float(data.sum()) * config["factor"] * scale, "labels": len(labels)})


data = np.ones((1000, 50))
trainable = tune.with_parameters(train, data=data, labels=list("abc"))
space = {"factor": tune.grid_search([1, 2])}

results = tune.Tuner(trainable, param_space=space).fit()
summary = {
    "function": [r.metrics["sum"] for r in results],
    "labels": [r.metrics["labels"] for r in results],
    "keys": sorted(results[0].config),
}
needs_half = tune.with_resources(tune.with_parameters(train, data=data, labels=[1]), {"cpu": 0.5})
results = tune.Tuner(needs_half, param_space=space).fit()
summary["with_resources"] = [r.metrics["sum"] for r in results]
results = tune.Tuner(partial(train, data=data, labels=[]), param_space=space).fit()
summary["partial"] = [r.metrics["sum"] for r in results]
try:
    tune.with_parameters("not callable", data=1)
    summary["not_callable"] = "nothing"
except (ValueError, TypeError) as error:
    summary["not_callable"] = isinstance(error, ValueError)
print(json.dumps(summary))
