from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import PB2
from prefect_tune.schedulers.gaussian_process import TimeVaryingProcess

from .test_pbt import Population


def make(**options: Any) -> PB2:
    return PB2(
        **{
            "time_attr": "training_iteration",
            "metric": "score",
            "mode": "max",
            "perturbation_interval": 1,
            "hyperparam_bounds": {"lr": [0.0, 1.0]},
            **options,
        }
    )


def grow(population: Population, rounds: int, best: float = 0.7) -> list[float]:
    """Trials whose metric grows the faster the nearer `lr` is to the best value."""
    scores = [0.0] * len(population.trials)
    times = [0] * len(population.trials)
    chosen = []
    for _ in range(rounds):
        for number, trial in enumerate(population.trials):
            before = len(population.copies)
            scores[number] += 1 - abs(trial.config["lr"] - best)
            times[number] += 1
            population.report(number, times[number], scores[number])
            if len(population.copies) > before:
                source = int(population.copies[-1][1][1:])
                scores[number], times[number] = scores[source], times[source]
                chosen.append(trial.config["lr"])
    return chosen


def population_of(scheduler: PB2, rates: list[float]) -> Population:
    population = Population(scheduler, len(rates))
    for trial, rate in zip(population.trials, rates, strict=True):
        trial.config["lr"] = rate
    return population


def test_hyperparameters_come_near_those_with_which_the_metric_grows_fastest() -> None:
    errors = []
    for seed in range(3):
        scheduler = make()
        scheduler.set_search_properties(None, None, seed=seed)
        chosen = grow(population_of(scheduler, [0.05, 0.2, 0.4, 0.95]), 40)
        assert len(chosen) >= 3
        assert all(0 <= rate <= 1 for rate in chosen)
        errors.append(np.mean(np.abs(np.array(chosen) - 0.7)))
    assert np.mean(errors) < 0.1  # 0.29 at random


def test_bounds_may_be_nested_and_whole_numbers_stay_whole() -> None:
    scheduler = make(hyperparam_bounds={"net": {"units": [1, 9]}, "lr": [0, 1]})
    population = Population(scheduler, 4, net={"units": 3, "act": "a"})
    grow(population, 8)
    units = [trial.config["net"]["units"] for trial in population.trials]
    assert all(isinstance(unit, int) and 1 <= unit <= 9 for unit in units)
    assert {trial.config["net"]["act"] for trial in population.trials} == {"a"}


def test_the_own_function_has_the_last_word() -> None:
    scheduler = make(custom_explore_fn=lambda config: {**config, "own": 1})
    population = population_of(scheduler, [0.1, 0.2, 0.3, 0.6])
    grow(population, 6)
    assert any("own" in trial.config for trial in population.trials)


@pytest.mark.parametrize(
    "bounds",
    [None, {}, {"lr": [1, 0]}, {"lr": [1]}, {"lr": "01"}, {"a": {"lr": [0, "x"]}}, {"lr": 3}],
)
def test_wrong_bounds_are_named(bounds: Any) -> None:
    with pytest.raises(InvalidArgument, match="`hyperparam_bounds"):
        make(hyperparam_bounds=bounds)


def test_the_process_agrees_with_what_it_was_shown() -> None:
    dice = np.random.default_rng(1)
    rows = dice.random((60, 2))
    values = np.sin(6 * rows[:, 0]) + rows[:, 1]
    values = (values - values.mean()) / values.std()
    process = TimeVaryingProcess(np.zeros(60), rows, values)
    mean, deviation = process.predict(np.zeros(60), rows)
    assert np.abs(mean - values).max() < 0.2
    _, far = process.predict(np.zeros(1), np.array([[3.0, 3.0]]))
    assert far[0] > 5 * deviation.max()


def test_the_process_forgets() -> None:
    dice = np.random.default_rng(1)
    rows = np.concatenate([dice.random((40, 1))] * 2)
    times = np.repeat([0.0, 30.0], 40)
    values = np.where(times == 0, -1.0, 1.0) * np.sign(rows[:, 0] - 0.5)
    process = TimeVaryingProcess(times, rows, values)
    mean, _ = process.predict(np.full(2, 30.0), np.array([[0.1], [0.9]]))
    assert mean[0] < -0.5 < 0.5 < mean[1]
