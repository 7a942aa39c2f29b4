"""What is said of a request that fits nowhere."""

from __future__ import annotations

import pytest

from prefect_tune.error import InsufficientResources
from prefect_tune.execution.driver.preflight import check_fits, real_gpus
from prefect_tune.resources import Resources

NODES = {"here": Resources.of(CPU=2), "there": Resources.of(CPU=1, license=1)}


@pytest.mark.parametrize(
    ("request_", "hints"),
    [
        (Resources.of(CPU=3), []),
        (Resources.of(CPU=1, license=2), []),
        (Resources.of(CPU=1, GPU=1), ["Declare GPUs with tune.init(num_gpus=...)"]),
        (
            Resources.of(CPU=1, memory=100),
            ["Leave memory out, or declare it with tune.init(resources={'memory': ...})"],
        ),
    ],
)
def test_hints_are_about_what_no_node_has_at_all(request_, hints):
    with pytest.raises(InsufficientResources) as told:
        check_fits(request_, NODES)
    text = str(told.value)
    assert "here has 2 CPU" in text
    assert all(hint in text for hint in hints)
    assert (text.count("Declare") + text.count("Leave")) == len(hints)


def test_one_node_is_enough():
    check_fits(Resources.of(CPU=1, license=1), NODES)


@pytest.mark.parametrize("name", ["GPU", "license"])
def test_a_cluster_of_somebody_else_is_not_described_with_init(name):
    with pytest.raises(InsufficientResources) as told:
        check_fits(Resources.of(CPU=1, **{name: 1}), {"there": Resources.of(CPU=1)}, False)
    text = str(told.value)
    assert "tune.init" not in text
    assert f"tart workers with `dask worker ... --resources '{name}=2'`" in text


def test_gpus_that_a_worker_does_not_see_are_not_used(caplog):
    has = Resources.of(CPU=2, GPU=2)
    assert real_gpus("tcp://a:1", has, 2) is has
    assert not caplog.records
    assert real_gpus("tcp://a:1", has, 1) == Resources.of(CPU=2, GPU=1)
    assert "tcp://a:1 declares 2 GPUs and sees 1 " in caplog.text
    assert real_gpus("tcp://b:1", has, 0) == has
    assert "tcp://b:1 declares 2 GPUs and sees none" in caplog.text
