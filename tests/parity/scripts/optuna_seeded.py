"""A seeded TPE sampler, one trial at a time: what it suggests does not depend on who asks it."""

import json

import optuna

import prefect_tune as tune
from prefect_tune.search.optuna import OptunaSearch


def objective(config):
    loss = (config["x"] - 3) ** 2 + config["y"] + {"a": 0.0, "b": 1.0}[config["kind"]]
    tune.report({"loss": loss})


def sweep(search, **config):
    tuner = tune.Tuner(
        objective,
        param_space=config,
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=14, max_concurrent_trials=1, **OBJECTIVE
        ),
    )
    return [[round(r.config["x"], 6), r.config["y"], r.config["kind"]] for r in tuner.fit()]


OBJECTIVE = {"metric": "loss", "mode": "min"}
space = {"x": tune.uniform(-5, 5), "y": tune.randint(0, 10), "kind": tune.choice(["a", "b"])}
by_space = sweep(OptunaSearch(sampler=optuna.samplers.TPESampler(seed=7)), **space)
by_seed = sweep(OptunaSearch(seed=7), **space)

OBJECTIVE = {}


def define(trial):
    trial.suggest_float("x", -5, 5)
    trial.suggest_int("y", 0, 9)
    trial.suggest_categorical("kind", ["a", "b"])
    return {"constant": 1}


by_function = sweep(OptunaSearch(define, metric="loss", mode="min", seed=7))
print(
    json.dumps(
        {
            "by_space": by_space,
            "seed_is_sampler": by_seed == by_space,
            "function_is_space": by_function == by_space,
        }
    )
)
