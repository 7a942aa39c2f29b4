from __future__ import annotations

import logging

import pytest

from prefect_tune.search import OptunaSearch, Searcher, make_source
from prefect_tune.search.warm_start import Evaluated, fitting
from prefect_tune.space import (
    SearchSpace,
    choice,
    grid_search,
    loguniform,
    quniform,
    randint,
    sample_from,
    uniform,
)

SPACE = {
    "lr": loguniform(1e-4, 1),
    "model": {"units": randint(1, 65), "act": choice(["relu", None, 2])},
    "double": sample_from(lambda spec: spec.config.lr * 2),
    "constant": 3,
}


def earlier(**changes):
    return {"lr": 0.1, "model/units": 8, "model/act": "relu", "constant": 9, **changes}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"units": 8, "act": "relu"}),
        ({"model/units": 8.0}, {"units": 8, "act": "relu"}),
        ({"model/act": "None"}, {"units": 8, "act": None}),
        ({"model/act": 2.0}, {"units": 8, "act": 2}),
        ({"gone": 1}, {"units": 8, "act": "relu"}),
    ],
)
def test_values_become_those_of_the_space(changes, found):
    ((config, value),) = fitting(SearchSpace(SPACE), [Evaluated(earlier(**changes), 0.5)])
    assert config == {"lr": 0.1, "model": found}
    assert type(config["model"]["units"]) is int
    assert value == 0.5


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lr": 5}, "'lr' is 5"),
        ({"lr": "high"}, "'lr' is 'high'"),
        ({"model/units": 8.5}, "'model/units' is 8.5"),
        ({"model/units": 65}, "'model/units' is 65"),
        ({"model/act": "gelu"}, "'model/act' is 'gelu'"),
        ({"model": 3, "model/units": 1}, "model"),
    ],
)
def test_what_lies_outside_is_left_out_and_counted(changes, why, caplog):
    with caplog.at_level(logging.WARNING):
        found = fitting(
            SearchSpace(SPACE), [Evaluated(earlier(), 1.0), Evaluated(earlier(**changes), 1.0)]
        )
    assert len(found) == 1
    assert "1 of 2 earlier configurations are left out" in caplog.text
    assert why in caplog.text


def test_conditional_spaces_lists_and_grids():
    space = SearchSpace(
        {
            "model": choice([{"kind": "a", "lr": uniform(0, 1)}, {"kind": "b"}]),
            "sizes": [quniform(0, 1, 0.25), 7],
            "g": grid_search([1, 2]),
        }
    )
    whole = {"model/kind": "a", "model/lr": 0.5, "sizes": [0.25, 7], "g": 2}
    ((config, _),) = fitting(space, [Evaluated(whole, 1.0)])
    assert config == {"model": {"kind": "a", "lr": 0.5}, "sizes": [0.25, 7], "g": 2}


EVALUATED = [Evaluated({"x": x / 10}, abs(x / 10 - 0.3)) for x in range(11)]


def test_a_search_that_learns_is_told_before_the_first_trial():
    searcher = OptunaSearch(seed=1)
    source = make_source(searcher, {"x": uniform(0, 1)}, 3, "m", "min", evaluated=EVALUATED)
    source.next()
    told = [trial.params["x"] for trial in searcher.study.trials if trial.state.is_finished()]
    assert told == [x / 10 for x in range(11)]


def test_a_restored_search_is_not_told_again():
    first = make_source(
        OptunaSearch(seed=1), {"x": uniform(0, 1)}, 3, "m", "min", evaluated=EVALUATED
    )
    first.next()
    again = OptunaSearch(seed=1)
    second = make_source(again, {"x": uniform(0, 1)}, 3, "m", "min", evaluated=EVALUATED)
    second.restore_state(first.save_state())
    second.next()
    assert len(again.study.trials) == len(EVALUATED) + 2


def test_a_search_that_was_saved_before_it_began_is_told_after_the_restore():
    space = {"x": uniform(0, 1)}
    first = make_source(OptunaSearch(seed=1), space, 3, "m", "min", evaluated=EVALUATED)
    state = first.save_state()
    again = OptunaSearch(seed=1)
    second = make_source(again, space, 3, "m", "min", evaluated=EVALUATED)
    second.restore_state(state)
    assert second.next() == first.next()
    assert len(again.study.trials) == len(EVALUATED) + 1


class Deaf(Searcher):
    """Learns from its own trials only."""

    def __init__(self):
        super().__init__()
        self.told = []

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        return {"x": 0.99}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append(trial_id)


@pytest.mark.parametrize("make", [Deaf, lambda: None])
def test_a_search_that_cannot_learn_tries_the_best_first(make):
    source = make_source(make(), {"x": uniform(0, 1)}, 30, "m", "min", evaluated=EVALUATED)
    seen = [source.next() for _ in range(11)]
    values = [suggestion.config["x"] for suggestion in seen]
    assert values[0] == 0.3
    assert sorted(values[:10]) == [x / 10 for x in range(10)]
    assert values[10] not in [x / 10 for x in range(11)]


def test_a_searcher_hears_only_of_trials_that_are_its_own():
    searcher = Deaf()
    source = make_source(searcher, {"x": uniform(0, 1)}, 3, "m", "min", evaluated=EVALUATED[:2])
    for _ in range(3):
        last = source.next()
        source.on_trial_complete(last.trial_id, {"m": 1.0})
    assert searcher.told == [last.trial_id]


def test_what_is_left_to_try_first_is_part_of_the_state():
    first = make_source(Deaf(), {"x": uniform(0, 1)}, 5, "m", "min", evaluated=EVALUATED[2:5])
    first.next()
    second = make_source(Deaf(), {"x": uniform(0, 1)}, 5, "m", "min", evaluated=EVALUATED[2:5])
    second.restore_state(first.save_state())
    assert [second.next().config["x"] for _ in range(3)] == [0.2, 0.4, 0.99]
