"""What a process of distributed training is told by its environment."""

from __future__ import annotations

import os

import pytest

from prefect_tune.trainable.distributed import rendezvous
from prefect_tune.trainable.distributed.rendezvous import WorkerInfo, set_current_worker
from prefect_tune.trainable.runtime.environment import DEVICE_VARIABLES, device_variables


@pytest.mark.parametrize(
    ("present", "variable"),
    [
        ({}, "CUDA_VISIBLE_DEVICES"),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "CUDA_VISIBLE_DEVICES"),
        ({"HIP_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "2,3"}, "HIP_VISIBLE_DEVICES"),
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, "ROCR_VISIBLE_DEVICES"),
        (
            {"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "0,1"},
            "HIP_VISIBLE_DEVICES",  # HIP heeds the other only without it
        ),
    ],
)
def test_a_worker_sees_its_devices_by_the_variable_of_the_trial(monkeypatch, present, variable):
    monkeypatch.setattr(rendezvous, "_current", None)
    monkeypatch.setattr(os, "environ", dict(present))
    assert device_variables(("0", "1")) == {variable: "0,1"}  # what the trial has
    set_current_worker(
        WorkerInfo(1, 2, 1, 2, 0, "127.0.0.1", 1, devices=("1",)), lambda value: [value]
    )
    given = {name: os.environ.get(name) for name in DEVICE_VARIABLES}
    assert given == {**dict.fromkeys(given), **present, variable: "1"}
