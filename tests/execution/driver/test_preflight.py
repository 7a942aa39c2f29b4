"""What is said of a request that fits nowhere."""

from __future__ import annotations

import pytest

from prefect_tune.error import InsufficientResources, InvalidArgument
from prefect_tune.execution.driver.preflight import check_fits, check_memory, real_gpus
from prefect_tune.resources import PlacementGroupFactory, Resources

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


def test_memory_is_in_bytes():
    check_memory(Resources.of(CPU=1))
    check_memory(Resources.of(CPU=1, memory=2e9))
    with pytest.raises(InvalidArgument, match=r"\"memory\" is 4, which are bytes.*2e9"):
        check_memory(Resources.of(CPU=1, memory=4))


def test_gpus_that_other_workers_of_the_host_have_are_not_used(caplog):
    has = Resources.of(CPU=2, GPU=2)
    assert real_gpus("tcp://c:1", has, 2, 1) == Resources.of(CPU=2, GPU=1)
    assert real_gpus("tcp://d:1", has, 2, 2) == Resources.of(CPU=2)
    assert "sees 2 (CUDA_VISIBLE_DEVICES, /dev/nvidia*), of which other workers" in caplog.text


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


def group(bundles, strategy="PACK"):
    return Resources.parse(PlacementGroupFactory(bundles, strategy))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (group([{"CPU": 1}, {"CPU": 3}]), "bundle 1 of a trial asks for 3 CPU, which no node has"),
        (group([{"CPU": 1}, {"GPU": 1}]), "Declare GPUs with"),
        (group([{"CPU": 1}] * 3, "STRICT_SPREAD"), "That takes 3 nodes, one for each bundle"),
        (group([{}, {"CPU": 1}, {"CPU": 2}, {"CPU": 1}], "STRICT_SPREAD"), "takes 3 nodes"),
        (group([{"CPU": 2}, {"CPU": 1}], "STRICT_PACK"), "a single node with room for all"),
        (group([{"CPU": 2}, {"CPU": 1}, {"CPU": 1}]), "PACK of 1 x (2 CPU); 2 x (1 CPU)"),
    ],
)
def test_bundles_that_no_nodes_can_hold_are_named(request_, said):
    with pytest.raises(InsufficientResources, match="`resources_per_trial`") as told:
        check_fits(request_, NODES)
    assert said in str(told.value)
    assert "here has 2 CPU" in str(told.value)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_SPREAD"])
def test_bundles_may_be_on_several_nodes(strategy):
    check_fits(group([{"CPU": 2}, {"CPU": 1}], strategy), NODES)
    check_fits(group([{}, {"CPU": 2}, {"license": 1}], strategy), NODES)


def test_many_nodes_are_told_about_by_what_they_have():
    with pytest.raises(InsufficientResources, match="1000 nodes have 8 CPU each"):
        check_fits(Resources.of(CPU=9), {f"n{n}": Resources.of(CPU=8) for n in range(1000)})
