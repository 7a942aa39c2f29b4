"""Optuna suggests, at most two at a time, starting from a known point."""

import json

import prefect_tune as tune
from prefect_tune.search import ConcurrencyLimiter
from prefect_tune.search.optuna import OptunaSearch


def evaluate(step, width, height):
    return (0.1 + width * step / 100) ** (-1) + height * 0.1


def objective(config):
    for step in range(config["steps"]):
        score = evaluate(step, config["width"], config["height"])
        tune.report({"iterations": step, "mean_loss": score})


search_space = {
    "steps": 10,
    "width": tune.uniform(0, 20),
    "height": tune.uniform(-100, 100),
    "activation": tune.choice(["relu", "tanh"]),
    "nested": {"lr": tune.loguniform(1e-4, 1e-1), "n": tune.randint(1, 9)},
}

first_point = {
    "width": 1.0,
    "height": -2.0,
    "activation": "relu",
    "nested/lr": 0.01,
    "nested/n": 3,
}
algo = OptunaSearch(points_to_evaluate=[first_point])
algo = ConcurrencyLimiter(algo, max_concurrent=2)
tuner = tune.Tuner(
    objective,
    tune_config=tune.TuneConfig(metric="mean_loss", mode="min", search_alg=algo, num_samples=8),
    param_space=search_space,
)
results = tuner.fit()
configs = [result.config for result in results]
first = configs[0]
print("Best hyperparameters found were: ", results.get_best_result().config)
print(
    json.dumps(
        {
            "trials": len(results),
            "first": [first["width"], first["activation"], round(first["nested"]["lr"], 9)],
            "in_bounds": all(
                0 <= c["width"] <= 20
                and -100 <= c["height"] <= 100
                and c["activation"] in ("relu", "tanh")
                and 1e-4 <= c["nested"]["lr"] <= 1e-1
                and 1 <= c["nested"]["n"] <= 8
                for c in configs
            ),
            "constants": all(c["steps"] == 10 for c in configs),
            "iterations": [r.metrics["training_iteration"] for r in results],
            "keys": sorted(first),
        }
    )
)
