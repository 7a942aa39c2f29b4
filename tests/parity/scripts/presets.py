"""Points to evaluate first, some of them partial, before the grid is sampled."""

import json

import prefect_tune as tune
from prefect_tune.search import BasicVariantGenerator
from prefect_tune.search.basic_variant import BasicVariantGenerator as SameGenerator


def f(config):
    tune.report({"sum": config["a"] + config["b"] + config["c"]})


tuner = tune.Tuner(
    f,
    param_space={
        "a": tune.grid_search([1, 2]),
        "b": tune.grid_search([10, 20, 30, 40]),
        "c": tune.uniform(0, 1),
    },
    tune_config=tune.TuneConfig(
        num_samples=5,
        search_alg=BasicVariantGenerator(
            points_to_evaluate=[{"a": 7, "b": 70, "c": 0.5}, {"a": 8}, {"b": 80}]
        ),
        metric="sum",
        mode="max",
    ),
)
results = tuner.fit()
pairs = [[result.config["a"], result.config["b"]] for result in results]
print(
    json.dumps(
        {
            "trials": len(results),
            "pairs": pairs,
            "first_c": results[0].config["c"],
            "same_class": SameGenerator is BasicVariantGenerator,
        }
    )
)
