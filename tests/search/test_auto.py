from __future__ import annotations

import logging

import pytest

from prefect_tune.search import auto, make_source
from prefect_tune.search.auto import AutoSearch, choose
from prefect_tune.space import SearchSpace, choice, loguniform, randint, uniform

FLOATS = {"x": uniform(0, 1), "n": {"y": loguniform(1e-3, 1)}}
MIXED = {**FLOATS, "k": randint(1, 9), "act": choice(["relu", "tanh"])}


@pytest.mark.parametrize(
    ("space", "metric", "trials", "parallel", "installed", "name"),
    [
        (FLOATS, "m", 50, 2, {"optuna", "bayes_opt"}, "bayesopt"),
        (FLOATS, "m", 50, 2, {"optuna"}, "optuna"),
        (FLOATS, "m", 5000, 2, {"optuna", "bayes_opt"}, "optuna"),
        (FLOATS, "m", -1, 2, {"optuna", "bayes_opt"}, "optuna"),
        (FLOATS, ["a", "b"], 50, 2, {"optuna", "bayes_opt"}, "optuna"),
        (MIXED, "m", 50, 2, {"optuna", "bayes_opt"}, "optuna"),
        (MIXED, "m", 50, 50, {"optuna", "bayes_opt"}, "random"),
        (MIXED, "m", 50, 2, set(), "random"),
        ({"c": 1}, "m", 50, 2, {"optuna"}, "random"),
    ],
)
def test_the_choice(monkeypatch, space, metric, trials, parallel, installed, name):
    monkeypatch.setattr(auto, "_is_installed", installed.__contains__)
    assert choose(SearchSpace(space), metric, trials, parallel).name == name


def test_it_says_what_it_has_taken_and_why(caplog):
    with caplog.at_level(logging.WARNING):
        make_source("auto", MIXED, 50, "m", "min", max_concurrent=4)
    assert "search_alg='auto' takes optuna: parameters: 4, not all continuous" in caplog.text


def test_a_longer_experiment_goes_on_with_what_was_chosen():
    first = make_source(AutoSearch(seed=1), MIXED, 3, "m", "min")
    for _ in range(3):
        first.on_trial_complete(first.next().trial_id, {"m": 1.0})
    longer = make_source(AutoSearch(seed=1), MIXED, 20, "m", "min")
    longer.restore_state(first.save_state())
    assert longer.searcher._choice.name == "random"
    assert longer.next().config["act"] in ("relu", "tanh")
