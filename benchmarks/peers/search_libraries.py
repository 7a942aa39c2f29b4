"""The libraries behind our searchers, driven as their own documentation does."""
# They publish no types, or are not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported"

from __future__ import annotations

import contextlib
import functools
import io
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


def skopt_search(objective: Objective, trials: int, seed: int) -> None:
    from skopt import Optimizer
    from skopt.space import Categorical, Integer, Real

    make: dict[str, Any] = {
        "float": Real,
        "log": functools.partial(Real, prior="log-uniform"),
        "int": Integer,
        "choice": Categorical,
    }
    dimensions = [make[kind](*rest) for kind, *rest in objective.space.values()]
    optimizer = Optimizer(dimensions, random_state=seed)
    for _ in range(trials):
        point = optimizer.ask()
        optimizer.tell(point, objective(dict(zip(objective.space, point, strict=True))))


def zoopt_search(objective: Objective, trials: int, seed: int) -> None:
    import zoopt
    from zoopt import ValueType

    choices = {n: rest[0] for n, (kind, *rest) in objective.space.items() if kind == "choice"}
    make: dict[str, Any] = {
        "float": lambda low, high: (ValueType.CONTINUOUS, [low, high], 1e-10),
        "log": lambda low, high: (ValueType.CONTINUOUS, [math.log(low), math.log(high)], 1e-10),
        "int": lambda low, high: (ValueType.DISCRETE, [low, high], True),
        "choice": lambda values: (ValueType.DISCRETE, [0, len(values) - 1], False),
    }

    def loss(solution: Any) -> float:
        config = dict(zip(objective.space, solution.get_x(), strict=True))
        for name, (kind, *_) in objective.space.items():
            if kind == "log":
                config[name] = math.exp(config[name])
            elif kind == "choice":
                config[name] = choices[name][config[name]]
        return objective(config)

    dimension = zoopt.Dimension2([make[kind](*rest) for kind, *rest in objective.space.values()])
    parameter = zoopt.Parameter(budget=trials, seed=seed)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it has found
        zoopt.Opt.min(zoopt.Objective(loss, dimension), parameter)


def nevergrad_search(objective: Objective, trials: int, seed: int) -> None:
    import nevergrad as ng
    import numpy as np

    make: dict[str, Any] = {
        "float": lambda low, high: ng.p.Scalar(lower=low, upper=high),
        "log": lambda low, high: ng.p.Log(lower=low, upper=high),
        "int": lambda low, high: ng.p.Scalar(lower=low, upper=high).set_integer_casting(),
        "choice": ng.p.Choice,
    }
    space = ng.p.Dict(**{n: make[kind](*rest) for n, (kind, *rest) in objective.space.items()})
    space.random_state = np.random.RandomState(seed)
    optimizer = ng.optimizers.OnePlusOne(parametrization=space, budget=trials)
    for _ in range(trials):
        candidate = optimizer.ask()
        optimizer.tell(candidate, objective(candidate.value))


def ax_search(objective: Objective, trials: int, seed: int) -> None:
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    make: dict[str, Any] = {
        "float": lambda n, *bounds: RangeParameterConfig(n, bounds, "float"),
        "log": lambda n, *bounds: RangeParameterConfig(n, bounds, "float", scaling="log"),
        "int": lambda n, *bounds: RangeParameterConfig(n, bounds, "int"),
        "choice": lambda n, values: ChoiceParameterConfig(n, values, "str", is_ordered=False),
    }
    client = Client(random_seed=seed)
    parameters = [make[kind](name, *rest) for name, (kind, *rest) in objective.space.items()]
    client.configure_experiment(parameters=parameters)
    client.configure_optimization(objective="-loss")
    for _ in range(trials):
        ((index, config),) = client.get_next_trials(max_trials=1).items()
        client.complete_trial(trial_index=index, raw_data={"loss": objective(config)})


_SEARCHES: dict[str, Any] = {
    "optuna": optuna_search,
    "hyperopt": hyperopt_search,
    "cfo": functools.partial(flaml_search, "CFO"),
    "blendsearch": functools.partial(flaml_search, "BlendSearch"),
    "bayesopt": bayesopt_search,
    "skopt": skopt_search,
    "zoopt": zoopt_search,
    "nevergrad": nevergrad_search,
    "ax": ax_search,
}


def searchers(*, library: str, problem: str, trials: int, seeds: int) -> Values:
    return search_values(_SEARCHES[library], problem=problem, trials=trials, seeds=seeds)


if __name__ == "__main__":
    serve({"searchers": searchers}, requires=("optuna", "hyperopt", "flaml"))
