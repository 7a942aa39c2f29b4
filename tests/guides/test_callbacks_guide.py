"""The examples of Ray Tune's guide to callbacks and metrics, in our own words."""

from __future__ import annotations

import inspect

import pytest

import prefect_tune as tune
from prefect_tune import air
from prefect_tune.air import session

AUTO_FILLED = {
    "config",
    "date",
    "done",
    "episodes_total",
    "experiment_id",
    "experiment_tag",
    "hostname",
    "iterations_since_restore",
    "node_ip",
    "pid",
    "time_since_restore",
    "time_this_iter_s",
    "time_total_s",
    "timestamp",
    "timesteps_since_restore",
    "timesteps_total",
    "training_iteration",
    "trial_id",
}


def train_function(config):
    for step in range(3):
        session.report({"metric": config["a"] + step})


def test_a_callback_is_told_of_every_result():
    class Collect(tune.Callback):
        def __init__(self):
            self.metrics = []

        def on_trial_result(self, iteration, trials, trial, result, **info):
            self.metrics.append((trial.trial_id, result["metric"]))

    collect = Collect()
    tuner = tune.Tuner(
        train_function,
        param_space={"a": tune.grid_search([0, 10])},
        run_config=air.RunConfig(callbacks=[collect], verbose=0),
    )
    results = tuner.fit()
    assert sorted(metric for _, metric in collect.metrics) == [0, 1, 2, 10, 11, 12]
    assert sorted(result.metrics["metric"] for result in results) == [2, 12]


def test_the_hook_has_the_arguments_of_the_guide():
    parameters = inspect.signature(tune.Callback.on_trial_result).parameters
    assert list(parameters) == ["self", "iteration", "trials", "trial", "result", "info"]


class ByHand(tune.Trainable):
    def setup(self, config):
        self.a = config["a"]

    def step(self):
        return {"metric": self.a + self.iteration, "done": self.iteration == 2}


@pytest.mark.parametrize("trainable", [train_function, ByHand], ids=["function", "class"])
def test_metrics_that_come_by_themselves(trainable):
    (result,) = tune.Tuner(
        trainable, param_space={"a": 1}, run_config=air.RunConfig(verbose=0)
    ).fit()
    assert set(result.metrics) >= AUTO_FILLED
    assert result.metrics["training_iteration"] == 3
    assert result.metrics["iterations_since_restore"] == 3
    assert result.metrics["config"] == {"a": 1}
    assert result.metrics["done"] is True


def test_functions_and_classes_have_the_same_metrics():
    def names(trainable):
        config = air.RunConfig(verbose=0)
        (result,) = tune.Tuner(trainable, param_space={"a": 1}, run_config=config).fit()
        return set(result.metrics)

    assert names(train_function) == names(ByHand)


def test_the_last_result_of_a_trial_is_at_hand_in_a_callback():
    class Last(tune.Callback):
        def __init__(self):
            self.seen = []

        def on_trial_complete(self, iteration, trials, trial, **info):
            self.seen.append(trial.last_result["metric"])

    last = Last()
    tune.Tuner(
        train_function,
        param_space={"a": 5},
        run_config=air.RunConfig(callbacks=[last], verbose=0),
    ).fit()
    assert last.seen == [7]
