"""What is decided before anything starts."""

from __future__ import annotations

import pytest

import prefect_tune as tune
from prefect_tune.engine.planning import make_plan
from prefect_tune.engine.request import ExperimentRequest
from prefect_tune.schedulers import ASHAScheduler, MedianStoppingRule
from prefect_tune.search import ConcurrencyLimiter
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.settings import TuneSettings


def train(config): ...


def two_objectives():
    return OptunaSearch(metric=["loss", "size"], mode=["min", "min"])


@pytest.mark.parametrize(
    ("config", "one"),
    [
        ({}, True),
        ({"metric": "loss", "mode": "min"}, True),
        ({"search_alg": OptunaSearch(metric="loss", mode="min")}, True),
        ({"search_alg": two_objectives()}, False),
        ({"search_alg": ConcurrencyLimiter(two_objectives(), 2)}, False),
        (
            {"metric": ["loss", "size"], "mode": ["min", "max"], "search_alg": OptunaSearch()},
            False,
        ),
    ],
)
def test_with_several_objectives_no_trial_is_the_best(config, one):
    request = ExperimentRequest(
        train, {"x": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(**config)
    )
    assert make_plan(request, TuneSettings()).one_objective is one


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("scheduler", [ASHAScheduler, MedianStoppingRule])
def test_what_only_the_scheduler_was_told_is_what_trials_are_compared_by(scheduler, mode):
    config = tune.TuneConfig(scheduler=scheduler(metric="loss", mode=mode))
    plan = make_plan(ExperimentRequest(train, {}, tune_config=config), TuneSettings())
    assert (plan.metric, plan.mode) == ("loss", mode)


@pytest.mark.parametrize(
    ("trainable", "settings", "name", "named"),
    [
        (train, {}, "mine", True),
        (train, {}, None, False),
        (train, {"disable_dated_subdir": True}, None, True),
        ("registered", {}, None, True),
    ],
)
def test_only_a_dated_name_may_change(monkeypatch, trainable, settings, name, named):
    monkeypatch.setattr("prefect_tune.registry._trainables", {"registered": train})
    request = ExperimentRequest(trainable, run_config=tune.RunConfig(name=name))
    plan = make_plan(request, TuneSettings(**settings))
    assert plan.named is named
    assert plan.name.startswith("train_20") is not named
