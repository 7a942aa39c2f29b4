"""Ray Tune's searchers, asked and told without a Ray cluster."""
# Ray is not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported"

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.problems import Objective, search_values
from benchmarks.subject import Values, serve

#: What Ray Tune still has: its module, its class, and what the class calls the seed. Its
#: `BayesOptSearch` does not work with bayesian-optimization 2 and later.
RAY_CLASSES = {
    "optuna": ("optuna", "OptunaSearch", "seed"),
    "hyperopt": ("hyperopt", "HyperOptSearch", "random_state_seed"),
}


def searchers(*, library: str, problem: str, trials: int, seeds: int) -> Values:
    return search_values(_searched(library), problem=problem, trials=trials, seeds=seeds)


def _searched(library: str) -> Any:
    from ray import tune

    module, name, seed_argument = RAY_CLASSES[library]
    cls = getattr(importlib.import_module(f"ray.tune.search.{module}"), name)
    make: dict[str, Any] = {
        "float": tune.uniform,
        "log": tune.loguniform,
        "int": lambda low, high: tune.randint(low, high + 1),
        "choice": tune.choice,
    }

    def search(objective: Objective, trials: int, seed: int) -> None:
        space = {name: make[kind](*rest) for name, (kind, *rest) in objective.space.items()}
        searcher = cls(**{seed_argument: seed})
        searcher.set_search_properties("loss", "min", space)
        for number in range(trials):
            loss = objective(searcher.suggest(str(number)))
            result = {"loss": loss, "training_iteration": 1}
            searcher.on_trial_complete(str(number), result)

    return search


if __name__ == "__main__":
    serve({"searchers": searchers}, requires=("ray",))
