"""Sweeps in simulated time."""

from __future__ import annotations

import pytest

import prefect_tune as tune
from prefect_tune import SimulatedCluster, simulate
from prefect_tune.error import InsufficientResources, InvalidArgument, TuneError
from prefect_tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
)
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.simulation.surrogates import SURROGATES
from prefect_tune.stopper import MaximumIterationStopper
from prefect_tune.testing.simulation import Simulation
from prefect_tune.tuner import Tuner


def curve(config, step):
    return {"loss": (config["x"] - 0.3) ** 2 + 1 / step}


SPACE = {"x": tune.uniform(0, 1)}
OF_LOSS = {"metric": "loss", "mode": "min", "config": SPACE, "seed": 1}


def courses(results):
    names = ("trial_id", "status", "attempt", "results_seen", "last_result")
    return [[getattr(trial, name) for name in names] for trial in results.trials]


def test_trials_take_turns_on_the_slots():
    results = simulate(
        lambda config, step: ({"loss": 1 / step}, 60.0),
        cluster=SimulatedCluster(nodes=2, cpus=2, start_s=5.0, price_per_hour=3.0),
        steps=10,
        num_samples=6,
        **OF_LOSS,
    )
    # 4 slots: two rounds of 10 minutes and 5 s of start each.
    assert results.simulation.seconds == 2 * 605
    assert results.simulation.num_results == 60
    assert results.simulation.node_hours == pytest.approx(2 * 1210 / 3600)
    assert results.simulation.cost == pytest.approx(3 * 2 * 1210 / 3600)
    assert results.simulation.hours_used == {"CPU": pytest.approx(6 * 605 / 3600)}
    assert [trial.start_time for trial in results.trials] == [0, 0, 0, 0, 605, 605]
    assert results.trials[4].last_result["time_total_s"] == 600


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"scheduler": ASHAScheduler(max_t=27, reduction_factor=3)},
        lambda: {"scheduler": ASHAScheduler(max_t=27, reduction_factor=3, brackets=3)},
        lambda: {"scheduler": HyperBandScheduler(max_t=9)},
        lambda: {
            "scheduler": PopulationBasedTraining(
                perturbation_interval=3, hyperparam_mutations={"x": tune.uniform(0, 1)}
            )
        },
        lambda: {"search_alg": OptunaSearch(seed=3)},
        lambda: {"stop": MaximumIterationStopper(4), "max_concurrent_trials": 3},
    ],
    ids=["asha", "brackets", "hyperband", "pbt", "optuna", "stopper"],
)
def test_the_same_seed_makes_the_same_decisions_whatever_goes_wrong(make):
    cluster = SimulatedCluster(
        nodes=3,
        cpus=2,
        start_s=1.5,
        failures_per_hour=60,
        losses_per_hour=40,
        straggler_share=0.3,
    )

    def run():
        return simulate(
            curve, steps=30, num_samples=20, cluster=cluster, max_failures=2, **OF_LOSS, **make()
        )

    first, second = run(), run()
    assert courses(first) == courses(second)
    assert first.simulation == second.simulation
    assert first.simulation.losses > 0
    assert first.simulation.num_attempts > 20


def test_asha_decides_as_in_a_simulation_of_the_scheduler_alone():
    results = simulate(
        curve,
        steps=27,
        num_samples=60,
        cluster=SimulatedCluster(cpus=1),
        scheduler=ASHAScheduler(max_t=27, reduction_factor=3),
        **OF_LOSS,
    )
    values = [trial.config["x"] for trial in results.trials]
    alone = Simulation(
        lambda index, step: curve({"x": values[index]}, step),
        num_trials=60,
        scheduler=ASHAScheduler(max_t=27, reduction_factor=3, metric="loss", mode="min"),
        slots=1,
    ).run()
    last = {trial_id: step for trial_id, step, _ in alone.decisions}
    assert [trial.results_seen for trial in results.trials] == list(last.values())


def test_results_in_batches_lead_to_the_same_decisions():
    def run(keep):
        return simulate(
            curve,
            steps=100,
            num_samples=50,
            scheduler=ASHAScheduler(max_t=81, reduction_factor=3),
            keep_results=keep,
            **OF_LOSS,
        )

    kept, batched = run(True), run(False)
    assert courses(kept) == courses(batched)
    assert batched.histories == {}
    assert [len(rows) for rows in kept.histories.values()] == [
        trial.results_seen for trial in kept.trials
    ]


def test_lost_work_is_done_again_from_the_newest_checkpoint():
    results = simulate(
        curve,
        steps=50,
        num_samples=4,
        cluster=SimulatedCluster(cpus=1, nodes=4, losses_per_hour=120),
        checkpoint_every=10,
        **OF_LOSS,
    )
    assert results.simulation.losses > 0
    for trial in results.trials:
        assert trial.status == "TERMINATED"
        assert trial.last_result["training_iteration"] == 50
        assert trial.last_result["time_total_s"] == 50
    again = [trial for trial in results.trials if trial.attempt > 1]
    assert again
    assert all(50 < trial.results_seen < 50 * trial.attempt for trial in again)


def test_a_time_budget_counts_simulated_seconds():
    results = simulate(curve, num_samples=-1, time_budget_s=25.5, steps=10, **OF_LOSS)
    assert results.simulation.seconds == 26.0  # trials stop at their next report
    assert sum(trial.attempt for trial in results.trials) == 24


def test_the_tuners_objects_stay_as_they_are():
    scheduler = ASHAScheduler(max_t=9, reduction_factor=3)
    tuner = Tuner(
        lambda config: None,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=9, scheduler=scheduler, seed=1
        ),
    )
    first = tuner.simulate(curve)
    assert scheduler.metric is None
    assert scheduler.debug_string() == ASHAScheduler(max_t=9, reduction_factor=3).debug_string()
    second = tuner.simulate(curve)
    assert courses(first.analysis) == courses(second.analysis)
    assert first.get_best_result().config == second.get_best_result().config


def test_an_experiment_is_the_model_of_the_next_one(tmp_path):
    first = simulate(curve, steps=4, num_samples=5, storage_path=str(tmp_path), name="a", **OF_LOSS)
    for model in (first, first.experiment_path):
        again = simulate(model, num_samples=5, **OF_LOSS)
        assert [t.last_result["loss"] for t in again.trials] == [
            t.last_result["loss"] for t in first.trials
        ]
    assert len(first.trial_dataframes) == 5
    frames = tune.ExperimentAnalysis(first.experiment_path).trial_dataframes
    for name, rows in first.histories.items():
        assert frames[name]["loss"].tolist() == [row["loss"] for row in rows]


def test_callbacks_are_told():
    class Collect(tune.Callback):
        def __init__(self):
            self.told = []

        def on_trial_result(self, iteration, trials, trial, result, **info):
            self.told.append((trial.trial_id, result["loss"]))

    collect = Collect()
    results = simulate(curve, steps=3, num_samples=2, callbacks=[collect], **OF_LOSS)
    assert sorted(collect.told) == sorted(
        (name, row["loss"]) for name, rows in results.histories.items() for row in rows
    )


@pytest.mark.parametrize("name", SURROGATES)
def test_no_trial_of_a_stock_model_is_better_than_its_optimum(name):
    surrogate = SURROGATES[name]
    results = simulate(name, num_samples=40, scheduler=FIFOScheduler(), seed=2)
    value = results.best_result[surrogate.metric]
    regret = (value - surrogate.optimum) * (1 if surrogate.mode == "min" else -1)
    assert 0 <= regret < {"network": 0.5, "branin": 5, "crossing": 0.2}[name]


def test_the_known_optima_are_reached():
    network, branin = SURROGATES["network"], SURROGATES["branin"]
    best = {"lr": 0.01, "units": 256, "dropout": 0.2}
    assert network(best, 81)[0]["loss"] == pytest.approx(network.optimum)
    assert branin({"x": 3.14159265, "y": 2.275}, 81)[0]["loss"] == pytest.approx(
        branin.optimum, abs=1e-5
    )
    assert SURROGATES["crossing"]({"lr": 0.001}, 81)[0]["accuracy"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("model", "others", "argument"),
    [
        (3, {}, "model"),
        ("no such", {}, "experiment"),
        (lambda: None, {}, "model"),
        (curve, {"steps": 0}, "steps"),
        (curve, {"cluster": 4}, "cluster"),
        (curve, {"num_samples": 0}, "num_samples"),
    ],
)
def test_wrong_arguments(model, others, argument):
    with pytest.raises((InvalidArgument, TuneError), match=argument):
        simulate(model, **{**OF_LOSS, **others})


def test_a_model_that_raises_is_a_trial_that_fails():
    results = simulate(lambda config, step: ({"loss": 1}, -1), num_samples=2, **OF_LOSS)
    assert [trial.status for trial in results.trials] == ["ERROR", "ERROR"]
    assert "seconds of a step" in results.trials[0].error_msg


@pytest.mark.parametrize(
    ("name", "value"),
    [("nodes", 0), ("cpus", -1), ("straggler_share", 2), ("straggler_slowdown", 0.5)],
)
def test_wrong_clusters(name, value):
    with pytest.raises(InvalidArgument, match=name):
        SimulatedCluster(**{name: value})


def test_a_trial_that_no_machine_holds():
    with pytest.raises(InsufficientResources, match="GPU"):
        simulate(curve, resources_per_trial={"gpu": 1}, **OF_LOSS)
