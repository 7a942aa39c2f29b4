"""The libraries behind our searchers, driven as their own documentation does."""
# They publish no types, or are not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported"

from __future__ import annotations

import functools
import math
from typing import Any

from benchmarks.problems import Objective, search_values
from benchmarks.subject import Values, serve


def optuna_search(objective: Objective, trials: int, seed: int) -> None:
    import optuna
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    make: dict[str, Any] = {
        "float": FloatDistribution,
        "log": functools.partial(FloatDistribution, log=True),
        "int": IntDistribution,
        "choice": CategoricalDistribution,
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    space = {name: make[kind](*rest) for name, (kind, *rest) in objective.space.items()}
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, objective(trial.params))


def hyperopt_search(objective: Objective, trials: int, seed: int) -> None:
    import hyperopt
    import numpy as np
    from hyperopt import hp

    make: dict[str, Any] = {
        "float": hp.uniform,
        "log": lambda name, low, high: hp.loguniform(name, math.log(low), math.log(high)),
        "int": hp.uniformint,
        "choice": hp.choice,
    }
    hyperopt.fmin(
        objective,
        {name: make[kind](name, *rest) for name, (kind, *rest) in objective.space.items()},
        algo=hyperopt.tpe.suggest,
        max_evals=trials,
        rstate=np.random.default_rng(seed),
        show_progressbar=False,
    )


def flaml_search(name: str, objective: Objective, trials: int, seed: int) -> None:
    import flaml
    from flaml import tune

    make: dict[str, Any] = {
        "float": tune.uniform,
        "log": tune.loguniform,
        "int": lambda low, high: tune.randint(low, high + 1),
        "choice": tune.choice,
    }
    space = {name: make[kind](*rest) for name, (kind, *rest) in objective.space.items()}
    searcher = getattr(flaml, name)(metric="loss", mode="min", space=space, seed=seed)
    for number in range(trials):
        config = None
        while config is None:  # it has come to a point that it knows
            config = searcher.suggest(str(number))
        result = {"config": config, "loss": objective(config), "time_total_s": 1}
        searcher.on_trial_complete(str(number), result)


def bayesopt_search(objective: Objective, trials: int, seed: int) -> None:
    import bayes_opt

    optimizer = bayes_opt.BayesianOptimization(
        f=lambda **config: -objective(config),
        pbounds={name: (low, high) for name, (_, low, high) in objective.space.items()},
        random_state=seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    optimizer.maximize(init_points=10, n_iter=trials - 10)


_SEARCHES: dict[str, Any] = {
    "optuna": optuna_search,
    "hyperopt": hyperopt_search,
    "cfo": functools.partial(flaml_search, "CFO"),
    "blendsearch": functools.partial(flaml_search, "BlendSearch"),
    "bayesopt": bayesopt_search,
}


def searchers(*, library: str, problem: str, trials: int, seeds: int) -> Values:
    return search_values(_SEARCHES[library], problem=problem, trials=trials, seeds=seeds)


if __name__ == "__main__":
    serve({"searchers": searchers}, requires=("optuna", "hyperopt", "flaml"))
