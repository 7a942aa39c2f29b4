"""`num_samples` repeats the grid; random values are drawn anew for each of its points."""

import json

from prefect_tune import TuneConfig, Tuner, choice, grid_search, randint, report, uniform


def train_model(config):
    report({"score": config["a"] * 10 + config["b"]})


tuner = Tuner(
    train_model,
    param_space={
        "a": grid_search([1, 2]),
        "b": grid_search([1, 2, 3]),
        "lr": uniform(0.001, 0.1),
        "layers": randint(1, 5),
        "act": choice(["relu", "tanh"]),
    },
    tune_config=TuneConfig(num_samples=2, metric="score", mode="max"),
)
results = tuner.fit()

pairs = [(result.config["a"], result.config["b"]) for result in results]
rates = [result.config["lr"] for result in results]
print(
    json.dumps(
        {
            "trials": len(results),
            "pairs": pairs,
            "distinct_rates": len(set(rates)),
            "rates_in_bounds": all(0.001 <= rate <= 0.1 for rate in rates),
            "layers_in_bounds": all(1 <= result.config["layers"] < 5 for result in results),
            "acts": all(result.config["act"] in ("relu", "tanh") for result in results),
            "best": [results.get_best_result().config[key] for key in "ab"],
            "errors": results.num_errors,
            "terminated": results.num_terminated,
        }
    )
)
