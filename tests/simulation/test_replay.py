"""What another scheduler would have done."""

from __future__ import annotations

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler

VALUES = [0.5, 0.9, 0.1, 0.8, 0.7, 0.3]


def curve(config, step):
    return {"loss": config["x"] + 1 / step}, 30.0


def finished(model=curve, **more):
    return tune.Tuner(
        lambda config: None,
        param_space={"x": tune.grid_search(VALUES)},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(**more),
    ).simulate(model, steps=9, cluster=tune.SimulatedCluster(cpus=1))


def test_asha_would_have_stopped_the_bad_ones():
    results = finished()
    answer = results.replay(ASHAScheduler(max_t=9, reduction_factor=3))
    again = tune.simulate(
        curve,
        steps=9,
        cluster=tune.SimulatedCluster(cpus=1),
        config={"x": tune.grid_search(VALUES)},
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=9, reduction_factor=3),
    )
    came = [trial.results_seen for trial in again.trials]
    assert [trial.results_seen for trial in answer.analysis.trials] == came
    assert answer.steps == 54
    assert answer.steps_saved == 54 - sum(came) > 20
    assert list(answer.stopped.values()) == [count for count in came if count < 9]
    assert answer.hours_saved == pytest.approx(answer.steps_saved * 30 / 3600)
    assert answer.best_trial == results.get_best_result().metrics["trial_id"]
    assert not answer.best_lost
    assert answer.best_value == answer.best_value_left == pytest.approx(0.1 + 1 / 9)
    assert "kept" in str(answer)


def test_a_late_bloomer_would_have_been_lost():
    def late(config, step):
        return {"loss": 2 - step / 5 if config["x"] == 0.1 else config["x"]}

    answer = finished(late).replay(ASHAScheduler(max_t=9, reduction_factor=3))
    assert answer.best_lost
    assert answer.best_value == pytest.approx(0.2)
    assert answer.best_value_left == pytest.approx(0.3)


def test_a_stopper_and_a_scheduler_that_stops_nothing():
    results = finished()
    answer = results.replay(stop={"training_iteration": 3})
    assert answer.stopped == dict.fromkeys(answer.stopped, 3)
    assert answer.steps_saved == 6 * 6
    assert results.replay(FIFOScheduler()).stopped == {}


def test_an_experiment_on_disk(tmp_path):
    results = finished(storage_path=str(tmp_path), name="one")
    answers = [
        tune.replay(which, ASHAScheduler(max_t=9, reduction_factor=3), metric="loss", mode="min")
        for which in (results, results.experiment_path)
    ]
    assert answers[0].stopped == answers[1].stopped != {}


def test_wrong_arguments(tmp_path):
    results = finished()
    with pytest.raises(InvalidArgument, match="scheduler"):
        results.replay()
    with pytest.raises(InvalidArgument, match="scheduler"):
        results.replay("no such scheduler")
    results.analysis.histories.clear()
    with pytest.raises(InvalidArgument, match="results"):
        results.replay(FIFOScheduler())
