"""The shorter way through plain sweeps leads to what events and commands lead to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune import SimulatedCluster, Step, simulate
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.error import TuneError
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler
from prefect_tune.simulation.plain_sweep import PlainSweep

SPACE = {"x": tune.uniform(0, 1), "y": tune.choice(["a", "b"])}


def odd(kind, at, config, step):
    """The result of one step that is not like the others."""
    if step != at or config["y"] == "a":
        return None
    match kind:
        case "raises":
            raise ValueError("no")
        case "checkpoint":
            return Step({"loss": config["x"]}, 1.0, checkpoint=True)
        case "text":
            return {"loss": config["x"], "note": "x"}, 1.0
        case "nested":
            return {"loss": config["x"], "of": {"a": 1}}, 1.0
        case "own time":
            return {"loss": config["x"], "time_this_iter_s": 3}, 1.0
        case "done":
            return {"loss": config["x"], "done": True}, 1.0
        case "numpy":
            return {"loss": np.float64(config["x"])}, 1.0
        case "whole":
            return {"loss": 1}, 1.0
        case "huge":
            return {"loss": 10**30}, 1.0
        case "nan":
            return {"loss": math.nan}, 1.0
        case "infinite":
            return {"loss": math.inf}, 1.0
    return None


def make_model(kind, at, seconds, length):
    def model(config):
        for step in range(1, length(config) + 1):
            found = odd(kind, at, config, step)
            if isinstance(found, Step):
                yield found
                continue
            metrics, took = found or ({"loss": config["x"] + 1 / step}, seconds(config, step))
            yield metrics if took == 1.0 else Step(metrics, took)

    return model


KINDS = "none raises checkpoint text nested own_time done numpy whole huge nan infinite".replace(
    "_", " "
).split()
SECONDS = {
    "equal": lambda config, step: 1.0,
    "by trial": lambda config, step: 0.3 + config["x"],
    "none": lambda config, step: 0,
    "varying": lambda config, step: 2.0 if (step + int(10 * config["x"])) % 3 else 0.1,
}
LENGTHS = {
    "long": lambda config: 12,
    "short": lambda config: 3,
    "mixed": lambda config: int(13 * config["x"]),
    "nothing": lambda config: 0,
}
CLUSTERS = [
    (SimulatedCluster(cpus=3), None),
    (SimulatedCluster(nodes=3, cpus=2, start_s=1.5), None),
    (SimulatedCluster(nodes=2, cpus=3, gpus=2), {"cpu": 1, "gpu": 1}),
    (SimulatedCluster(nodes=2, cpus=3, gpus=2, start_s=0.7), {"cpu": 1, "gpu": 0.4}),
    (
        SimulatedCluster(nodes=3, cpus=2),
        tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}], strategy="SPREAD"),
    ),
]


def schedulers():
    asha = st.builds(
        dict,
        max_t=st.sampled_from([4, 9, 12, 20]),
        grace_period=st.sampled_from([1, 2]),
        reduction_factor=st.sampled_from([2, 3]),
        brackets=st.integers(1, 3),
        stop_last_trials=st.booleans(),
        time_attr=st.sampled_from(["training_iteration", "time_total_s", "missing"]),
    )
    return st.none() | asha


def run(arguments, seconds, length, kind, at):
    scheduler, cluster = arguments["scheduler"], CLUSTERS[arguments["cluster"]]
    model = make_model(kind, at, SECONDS[seconds], LENGTHS[length])
    try:
        results = simulate(
            model,
            config=SPACE,
            metric="loss",
            mode="min",
            seed=3,
            verbose=0,
            num_samples=arguments["num_samples"],
            stop=arguments["stop"],
            keep_results=arguments["keep_results"],
            max_failures=arguments["max_failures"],
            scheduler=FIFOScheduler() if scheduler is None else ASHAScheduler(**scheduler),
            cluster=cluster[0],
            resources_per_trial=cluster[1],
            raise_on_failed_trial=False,
        )
    except TuneError as error:
        return str(error)
    return results


def told(results):
    if isinstance(results, str):
        return results
    names = (
        "trial_id status attempt config evaluated_params experiment_tag last_result results_seen "
        "start_time last_update_time num_failures location resources checkpoints metric_analysis "
        "error_msg relative_logdir"
    ).split()
    trials = [{name: repr(getattr(trial, name)) for name in names} for trial in results.trials]
    return (
        trials,
        repr(results.simulation.incumbents),
        repr(results.simulation),
        repr(results.histories),
    )


ARGUMENTS = st.builds(
    dict,
    scheduler=schedulers(),
    cluster=st.integers(0, len(CLUSTERS) - 1),
    num_samples=st.integers(1, 25),
    stop=st.sampled_from([None, None, {"training_iteration": 5}, {"loss": 0.9}, {"no such": 1}]),
    keep_results=st.booleans(),
    max_failures=st.sampled_from([0, 2]),
)


@settings(max_examples=60, deadline=None)
@given(
    arguments=ARGUMENTS,
    seconds=st.sampled_from(sorted(SECONDS)),
    length=st.sampled_from(sorted(LENGTHS)),
    kind=st.sampled_from(KINDS),
    at=st.integers(1, 6),
)
def test_both_ways_lead_to_the_same(arguments, seconds, length, kind, at):
    short = run(arguments, seconds, length, kind, at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainSweep, "can_run", staticmethod(lambda setup, options: False))
        long = run(arguments, seconds, length, kind, at)
    assert told(short) == told(long)


def test_a_plain_sweep_needs_no_events():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Coordinator, "handle", lambda coordinator, event: pytest.fail(f"{event}"))
        results = simulate(
            make_model("none", 0, SECONDS["equal"], LENGTHS["long"]),
            config=SPACE,
            num_samples=20,
            metric="loss",
            mode="min",
            scheduler=ASHAScheduler(max_t=9, reduction_factor=3),
            seed=1,
        )
    assert [trial.status for trial in results.trials] == ["TERMINATED"] * 20
