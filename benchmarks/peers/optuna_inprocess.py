"""Optuna's side of the benchmarks: objectives called in this process, random sampling."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.subject import (
    MemorySlope,
    Values,
    overhead_values,
    seconds_since_start,
    serve,
    sleeping_values,
)

if TYPE_CHECKING:
    import optuna


def trial_overhead(*, trials: int) -> Values:
    _study().optimize(_score, n_trials=1)
    start_s = seconds_since_start()
    study = _study()
    began = time.perf_counter()
    study.optimize(_score, n_trials=trials)
    return overhead_values(start_s, time.perf_counter() - began, trials)


def sleeping_trials(*, trials: int, slots: int, seconds: float) -> Values:
    def sleeping(trial: optuna.Trial) -> float:
        time.sleep(seconds)
        return _score(trial)

    study = _study()
    began = time.perf_counter()
    study.optimize(sleeping, n_trials=trials, n_jobs=slots)
    return sleeping_values(time.perf_counter() - began, trials, slots, seconds)


def first_result() -> Values:
    after_s: list[float] = []
    first = _each(lambda: after_s.append(seconds_since_start()))
    _study().optimize(_score, n_trials=1, callbacks=[first])
    return {"first_result_s": after_s[0], "whole_run_s": seconds_since_start()}


def coordinator_memory(*, trials: int, traced: bool) -> Values:
    slope = MemorySlope(trials, traced=traced)
    _study().optimize(_score, n_trials=trials, callbacks=[_each(slope.trial_finished)])
    return slope.values()


def space_resolution(*, variants: int) -> Values:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    space: dict[str, BaseDistribution] = {
        "lr": FloatDistribution(1e-5, 1e-1, log=True),
        "momentum": FloatDistribution(0.5, 0.99),
        "dropout": FloatDistribution(0.0, 0.5, step=0.05),
        "noise": FloatDistribution(-3.0, 3.0),
        "layers": IntDistribution(1, 7),
        "width": IntDistribution(8, 1023, log=True),
        "batch": IntDistribution(16, 256, step=16),
        "activation": CategoricalDistribution(["relu", "tanh", "gelu"]),
        "optimiser": CategoricalDistribution(["sgd", "adam"]),
        "decay": FloatDistribution(1e-6, 1e-2),
    }
    study = _study()
    began = time.perf_counter()
    for _ in range(variants):
        study.ask(fixed_distributions=space)
    return {"resolve_s": time.perf_counter() - began}


def _study() -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


def _score(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def _each(action: Callable[[], None]) -> Callable[[optuna.Study, object], None]:
    return lambda study, trial: action()


WORKLOADS = {
    workload.__name__: workload
    for workload in (
        trial_overhead,
        sleeping_trials,
        first_result,
        coordinator_memory,
        space_resolution,
    )
}

if __name__ == "__main__":
    serve(WORKLOADS, requires=("optuna",))
