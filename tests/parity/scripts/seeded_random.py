"""A random state fixes the configurations, `constant_grid_search` the draws of a sample."""

import json

import prefect_tune as tune
from prefect_tune.search import BasicVariantGenerator

SPACE = {
    "grid": tune.grid_search([0, 1]),
    "uniform": tune.uniform(0, 10),
    "log": tune.loguniform(1e-3, 1),
    "int": tune.randint(0, 1000),
    "choice": tune.choice(list("abcdef")),
    "normal": tune.randn(5, 2),
}


def objective(config):
    tune.report({"value": config["uniform"]})


def sweep(**arguments):
    analysis = tune.run(
        objective,
        config=SPACE,
        num_samples=2,
        search_alg=BasicVariantGenerator(**arguments),
        verbose=0,
    )
    return [trial.config for trial in analysis.trials]


first, again = sweep(random_state=1234), sweep(random_state=1234)
other = sweep(random_state=4321)
constant = sweep(random_state=1234, constant_grid_search=True)
draws = [config["uniform"] for config in constant]
print(
    json.dumps(
        {
            "trials": len(first),
            "reproducible": first == again,
            "differs": first != other,
            "distinct_draws": len({config["uniform"] for config in first}),
            "constant_grid": [draws[0] == draws[1], draws[2] == draws[3], draws[0] == draws[2]],
        }
    )
)
