"""Trials whose resources change while a sweep runs."""

from __future__ import annotations

import prefect_tune as tune
from prefect_tune import Checkpoint
from prefect_tune.schedulers import ResourceChangingScheduler


def train(config):
    start = tune.get_checkpoint()
    for n in range(start.to_dict()["n"] + 1 if start else 1, 4):
        memory = tune.get_trial_resources().required_resources.get("memory", 0)
        tune.report({"memory": memory}, checkpoint=Checkpoint.from_dict({"n": n}))


def test_memory_that_is_asked_for_later_is_found(sweep):
    def with_memory(controller, trial, result, scheduler):
        return {"cpu": 1, "memory": 1e9}

    scheduler = ResourceChangingScheduler(resources_allocation_function=with_memory)
    analysis = sweep(train, scheduler=scheduler, resources_per_trial={"cpu": 1})
    assert analysis.trials[0].last_result["memory"] == 1e9
