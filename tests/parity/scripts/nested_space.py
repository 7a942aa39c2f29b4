"""Nested dicts and lists, conditional values, constants and objects."""

import json
import random

import numpy as np

import prefect_tune as tune
from prefect_tune import RunConfig, TuneConfig, Tuner


def build_and_train(config):
    model = config["model"]
    score = model["width"] * model["depth"] + config["optimizer"]["lr"]
    tune.report({"score": score, "eval": {"accuracy": 0.5, "deep": {"f1": np.float32(0.25)}}})


search_space = {
    "model": {
        "width": tune.choice([32, 64]),
        "depth": tune.sample_from(lambda spec: 2 if spec.config.model.width == 32 else 4),
        "layers": [tune.randint(1, 4), {"units": tune.qrandint(8, 32, 8)}, "fixed"],
    },
    "optimizer": {
        "lr": tune.loguniform(1e-4, 1e-1),
        "momentum": tune.quniform(0.1, 0.9, 0.1),
        "warmup": tune.sample_from(lambda _: random.choice([10, 20])),
    },
    "noise": tune.randn(0, 1),
    "steps": tune.lograndint(1, 1000),
    "batch": tune.qloguniform(16, 256, 16),
    "seed": 42,
    "tags": ["a", "b"],
    "nothing": None,
}

tuner = Tuner(
    build_and_train,
    param_space=search_space,
    tune_config=TuneConfig(metric="eval/deep/f1", mode="max", num_samples=8),
    run_config=RunConfig(name="nested", verbose=1),
)
results = tuner.fit()
configs = [result.config for result in results]
best = results.get_best_result()
frame = results.get_dataframe()

print(
    json.dumps(
        {
            "trials": len(results),
            "depth_follows_width": all(
                c["model"]["depth"] == (2 if c["model"]["width"] == 32 else 4) for c in configs
            ),
            "list": all(
                1 <= c["model"]["layers"][0] < 4
                and c["model"]["layers"][1]["units"] in (8, 16, 24, 32)
                and c["model"]["layers"][2] == "fixed"
                for c in configs
            ),
            "lr": all(1e-4 <= c["optimizer"]["lr"] <= 1e-1 for c in configs),
            "momentum": all(
                abs(c["optimizer"]["momentum"] * 10 - round(c["optimizer"]["momentum"] * 10)) < 1e-6
                for c in configs
            ),
            "warmup": all(c["optimizer"]["warmup"] in (10, 20) for c in configs),
            "steps": all(1 <= c["steps"] < 1000 and isinstance(c["steps"], int) for c in configs),
            "batch": all(c["batch"] % 16 == 0 for c in configs),
            "constants": all(
                (c["seed"], c["tags"], c["nothing"]) == (42, ["a", "b"], None) for c in configs
            ),
            "keys": sorted(configs[0]),
            "nested_metric": float(best.metrics["eval"]["deep"]["f1"]),
            "metric_columns": sorted(c for c in frame.columns if c.startswith("eval")),
            "config_columns": sorted(c for c in frame.columns if c.startswith("config/")),
        }
    )
)
