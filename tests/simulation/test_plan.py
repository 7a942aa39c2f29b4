"""What a sweep will take, beside what it takes in a simulation."""

from __future__ import annotations

import random

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import ASHAScheduler, HyperBandScheduler
from prefect_tune.simulation.attempt import Step

SPACE = {"x": tune.uniform(0, 1)}
CLUSTER = tune.SimulatedCluster(nodes=2, cpus=4, gpus=1, start_s=6, price_per_hour=2.5)


def in_random_order(seed):
    draw = random.Random(seed)

    def train(config):
        value = draw.random()
        for _ in range(200):
            yield Step({"loss": value}, 30.0)

    return train


def test_a_sweep_without_a_scheduler_is_known_exactly():
    arguments = {"config": SPACE, "num_samples": 11, "stop": {"training_iteration": 20}}
    plan = tune.plan(seconds_per_step=30, cluster=CLUSTER, **arguments)
    simulated = tune.simulate(in_random_order(0), cluster=CLUSTER, seed=1, **arguments).simulation
    assert (plan.trials, plan.concurrency, plan.basis) == (11, 8, "exact")
    assert plan.steps.expected == simulated.num_results == 220
    assert plan.hours.expected == pytest.approx(simulated.seconds / 3600)
    assert plan.cpu_hours.expected == pytest.approx(simulated.hours_used["CPU"])
    assert plan.cost.expected == pytest.approx(simulated.cost)
    assert plan.hours.low == plan.hours.high


def test_gpu_hours():
    plan = tune.plan(
        seconds_per_step=3600,
        steps=3,
        cluster=CLUSTER,
        config=SPACE,
        num_samples=4,
        resources_per_trial={"gpu": 0.5},
    )
    assert plan.concurrency == 4
    assert plan.gpu_hours.expected == pytest.approx(4 * 0.5 * (3 + 6 / 3600))


def test_the_rungs_of_asha_hold_what_simulations_come_to():
    def arguments():
        return {
            "config": SPACE,
            "num_samples": 200,
            "metric": "loss",
            "mode": "min",
            "scheduler": ASHAScheduler(max_t=27, reduction_factor=3),
        }

    plan = tune.plan(seconds_per_step=30, cluster=CLUSTER, **arguments())
    runs = [
        tune.simulate(in_random_order(seed), cluster=CLUSTER, seed=seed, **arguments())
        for seed in range(12)
    ]
    assert [rung.step for rung in plan.rungs] == [1, 3, 9, 27]
    for rung in plan.rungs:
        came = [sum(t.results_seen >= rung.step for t in run.trials) for run in runs]
        assert all(rung.trials.low <= count <= rung.trials.high for count in came)
        mean = sum(came) / len(came)
        assert rung.trials.expected == pytest.approx(mean, rel=0.25), rung
    for bounds, numbers in (
        (plan.steps, [run.simulation.num_results for run in runs]),
        (plan.hours, [run.simulation.seconds / 3600 for run in runs]),
        (plan.cpu_hours, [run.simulation.hours_used["CPU"] for run in runs]),
        (plan.cost, [run.simulation.cost for run in runs]),
    ):
        assert all(bounds.low <= number <= bounds.high for number in numbers)
        assert bounds.expected == pytest.approx(sum(numbers) / len(numbers), rel=0.2)


def test_the_bounds_of_asha_are_reached():
    def run(sign):
        values = iter(range(1000))

        def train(config):
            value = sign * next(values)
            for _ in range(9):
                yield {"loss": value}

        arguments = {"config": SPACE, "num_samples": 30, "metric": "loss", "mode": "min"}
        scheduler = ASHAScheduler(max_t=9, reduction_factor=3)
        one = tune.SimulatedCluster(cpus=1)
        plan = tune.plan(seconds_per_step=1, cluster=one, scheduler=scheduler, **arguments)
        scheduler = ASHAScheduler(max_t=9, reduction_factor=3)
        found = tune.simulate(train, cluster=one, scheduler=scheduler, **arguments)
        return plan.steps, found.simulation.num_results

    bounds, best = run(-1)
    assert best == bounds.high == 30 * 9
    bounds, worst = run(1)
    assert worst == bounds.low == 30 + 8


def test_other_schedulers_are_simulated():
    plan = tune.plan(
        seconds_per_step=10,
        steps=9,
        config=SPACE,
        num_samples=20,
        metric="loss",
        mode="min",
        scheduler=HyperBandScheduler(max_t=9),
    )
    assert "simulated" in plan.basis
    assert 20 < plan.steps.low <= plan.steps.expected <= plan.steps.high < 20 * 9


def test_a_time_budget_bounds_the_hours():
    plan = tune.plan(
        seconds_per_step=60, steps=60, config=SPACE, num_samples=80, time_budget_s=2 * 3600
    )
    assert plan.hours.expected == 2
    assert plan.steps.expected == pytest.approx(8 * 120)
    assert "time budget" in plan.basis


def test_it_can_be_read():
    text = str(
        tune.plan(
            seconds_per_step=30,
            cluster=CLUSTER,
            config=SPACE,
            num_samples=9,
            metric="loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=9, reduction_factor=3),
        )
    )
    assert "trials at step 3" in text
    assert "cost" in text


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"seconds_per_step": 0}, "seconds_per_step"),
        ({"steps": None}, "steps"),
        ({"num_samples": -1}, "num_samples"),
        ({"resources_per_trial": {"gpu": 3}}, "cluster"),
    ],
)
def test_wrong_arguments(wrong, argument):
    given = {"seconds_per_step": 1, "steps": 5, "config": SPACE, "cluster": CLUSTER}
    with pytest.raises(InvalidArgument, match=argument):
        tune.plan(**{**given, **wrong})
