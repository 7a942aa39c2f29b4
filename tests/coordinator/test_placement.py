"""The packing of attempts into nodes."""

from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.placement import Placer, Slot
from prefect_tune.resources import Resources


def placer(*nodes: Node) -> Placer:
    result = Placer()
    result.update(nodes, [])
    return result


def test_ninths_of_a_cpu_fit_nine_times():
    one = placer(Node("a", Resources.of(CPU=0.999)))
    request = Resources.parse({"cpu": 0.111})
    taken = [one.reserve(request) for _ in range(10)]
    assert sum(slot is not None for slot in taken) == 9


def test_shares_of_a_gpu_fill_one_device_before_the_next():
    one = placer(Node("a", Resources.of(CPU=8, GPU=2), ("0", "1")))
    request = Resources.parse({"cpu": 1, "gpu": 0.5})
    devices = [slot.devices for _ in range(4) if (slot := one.reserve(request))]
    assert devices == [("0",), ("0",), ("1",), ("1",)]
    assert one.reserve(request) is None


def test_a_whole_gpu_needs_an_idle_device():
    one = placer(Node("a", Resources.of(CPU=8, GPU=2), ("0", "1")))
    half, whole = Resources.parse({"gpu": 0.5}), Resources.parse({"gpu": 1})
    assert one.reserve(half) is not None
    slot = one.reserve(whole)
    assert slot is not None
    assert slot.devices == ("1",)
    assert one.reserve(whole) is None


def test_trials_without_gpu_leave_gpu_nodes_alone():
    both = placer(Node("gpu", Resources.of(CPU=8, GPU=1), ("0",)), Node("cpu", Resources.of(CPU=1)))
    request = Resources.parse(None)
    nodes = [slot.node for _ in range(3) if (slot := both.reserve(request))]
    assert nodes == ["cpu", "gpu", "gpu"]


def test_a_node_that_goes_and_comes_back_keeps_the_slots_of_living_attempts():
    one = placer(Node("a", Resources.of(CPU=2)))
    slot = one.reserve(Resources.parse(None))
    assert slot is not None
    one.update([], [slot])
    assert not one.fits(Resources.parse(None))
    one.update([Node("a", Resources.of(CPU=2))], [slot])
    assert one.fits(Resources.parse(None))
    assert not one.fits(Resources.parse({"cpu": 2}))


@given(st.lists(st.tuples(st.integers(1, 2500), st.integers(0, 2500)), max_size=40))
def test_nothing_is_ever_oversubscribed_and_release_restores_everything(
    requests: list[tuple[int, int]],
):
    node = Node("a", Resources.of(CPU=4, GPU=4), ("0", "1", "2", "3"))
    one = placer(node)
    held: list[Slot] = []
    for cpu, gpu in requests:
        slot = one.reserve(Resources((("CPU", cpu), ("GPU", gpu)) if gpu else (("CPU", cpu),)))
        if slot is None and held:
            one.release(held.pop(0))
        elif slot is not None:
            held.append(slot)
        assert sum(s.resources.get_milli("CPU") for s in held) <= 4000
        load = dict.fromkeys(node.devices, 0)
        for s in held:
            for device in s.devices:
                load[device] += min(1000, s.resources.get_milli("GPU"))
        assert max(load.values()) <= 1000
    for slot in held:
        one.release(slot)
    assert one.totals() == {"CPU": (0.0, 4.0), "GPU": (0.0, 4.0)}


def test_what_others_hold_is_not_free():
    one = placer(Node("a", Resources.of(CPU=2, GPU=1), ("0",), held=Resources.of(CPU=1, GPU=1)))
    assert one.fits(Resources.parse(None))
    assert not one.fits(Resources.parse({"cpu": 2}))
    assert not one.fits(Resources.parse({"gpu": 1}))
    assert one.could_ever_fit(Resources.parse({"cpu": 2, "gpu": 1}))
    assert one.describe() == (
        "a has 1 of 2 CPU, 0 of 1 GPU free (other Dask tasks hold 1 CPU, 1 GPU)"
    )


def test_nothing_goes_to_a_node_with_an_obstacle():
    two = placer(
        Node("a", Resources.of(CPU=4), obstacle="it is paused"), Node("b", Resources.of(CPU=1))
    )
    slots = [two.reserve(Resources.parse(None)) for _ in range(2)]
    assert [slot and slot.node for slot in slots] == ["b", None]
    assert two.could_ever_fit(Resources.parse({"cpu": 4}))
    assert "nothing starts on a now: it is paused" in two.describe()
