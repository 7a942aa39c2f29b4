"""Ways to search beside each other."""

from __future__ import annotations

import math

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import ASHAScheduler


def test_the_better_way_has_less_regret_for_what_it_costs():
    comparison = tune.compare(
        {
            "random": None,
            "asha": ASHAScheduler(max_t=81, reduction_factor=3),
            "fewer": {"num_samples": 4},
        },
        "network",
        seeds=5,
        num_samples=30,
        cluster=tune.SimulatedCluster(cpus=4, price_per_hour=2),
    )
    random, asha, fewer = comparison.outcomes.values()
    assert comparison.optimum == 0.1
    assert asha.runs[0].trial_hours < random.runs[0].trial_hours / 3
    assert fewer.median_regret > random.median_regret >= 0
    assert len(asha.regrets) == 5
    spent = max(run.trial_hours for run in asha.runs)
    at_equal_cost = [sorted(comparison.regret_at(n, spent, "cost"))[2] for n in ("random", "asha")]
    assert at_equal_cost[1] < at_equal_cost[0]
    assert comparison.regret_at("asha", 0.0) == [math.inf] * 5
    assert comparison.regret_at("asha", 1e9) == asha.regrets
    assert [line.split()[0] for line in str(comparison).splitlines()[1:]] == [
        "random",
        "asha",
        "fewer",
    ]


def test_without_a_known_optimum_regret_counts_from_the_best_of_all(tmp_path):
    pytest.importorskip("matplotlib")

    def curve(config, step):
        return {"accuracy": config["x"] * step}

    comparison = tune.compare(
        {"few": {"num_samples": 2}, "many": {"num_samples": 12}},
        curve,
        seeds=3,
        steps=4,
        config={"x": tune.uniform(0, 1)},
        metric="accuracy",
        mode="max",
    )
    assert min(min(outcome.regrets) for outcome in comparison.outcomes.values()) == 0
    assert comparison.outcomes["many"].median_regret < comparison.outcomes["few"].median_regret
    for over in ("time", "cost"):
        path = tmp_path / f"{over}.svg"
        comparison.plot(over, path=path)
        assert "many" in path.read_text()
    with pytest.raises(InvalidArgument, match="over"):
        comparison.plot("money")


@pytest.mark.parametrize(("ways", "argument"), [({}, "ways"), ([1], "ways")])
def test_wrong_arguments(ways, argument):
    with pytest.raises(InvalidArgument, match=argument):
        tune.compare(ways, "network", num_samples=2)
