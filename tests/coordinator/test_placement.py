"""The packing of attempts into nodes."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.node_slots import NodesAlike, NodeSlots, Slot
from prefect_tune.coordinator.placement import Placer
from prefect_tune.resources import PlacementGroupFactory, Resources


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


def group(bundles: list[dict[str, float]], strategy: str) -> Resources:
    return Resources.parse(PlacementGroupFactory(bundles, strategy))


def places(slot: Slot | None) -> list[str]:
    assert slot is not None
    return [part.node for part in (slot, *slot.others)]


def four_nodes() -> Placer:
    return placer(*(Node(name, Resources.of(CPU=4)) for name in "abcd"))


@pytest.mark.parametrize(
    ("strategy", "nodes"),
    [
        ("PACK", ["a", "a", "a"]),
        ("STRICT_PACK", ["a", "a", "a"]),
        ("SPREAD", ["a", "b", "c"]),
        ("STRICT_SPREAD", ["a", "b", "c"]),
    ],
)
def test_bundles_go_where_the_strategy_says(strategy, nodes):
    assert places(four_nodes().reserve(group([{"CPU": 1}] * 3, strategy))) == nodes


def test_packing_takes_as_few_nodes_as_it_can():
    nodes = places(four_nodes().reserve(group([{"CPU": 1}] + [{"CPU": 2}] * 4, "PACK")))
    assert len(set(nodes)) == 3
    assert max(map(nodes.count, nodes)) == 2


def test_packing_leaves_the_emptiest_node_to_others():
    four = four_nodes()
    four.reserve(Resources.of(CPU=2))
    assert places(four.reserve(group([{"CPU": 1}] * 2, "PACK"))) == ["a", "a"]


def test_a_group_is_laid_otherwise_where_the_first_try_leaves_no_room():
    two = placer(Node("a", Resources.of(CPU=3)), Node("b", Resources.of(CPU=4, license=1)))
    bundles: list[dict[str, float]] = [{"CPU": 3}, {"CPU": 2, "license": 1}]
    assert places(two.reserve(group(bundles, "SPREAD"))) == ["a", "b"]


def test_an_empty_head_goes_along_with_the_first_of_the_others():
    four = four_nodes()
    slot = four.reserve(group([{}, {"CPU": 4}, {"CPU": 4}], "SPREAD"))
    assert slot is not None
    assert slot.resources == Resources()
    assert places(slot) == ["a", "a", "b"]


def test_bundles_get_devices_of_their_own():
    two = placer(*(Node(name, Resources.of(CPU=4, GPU=2), ("0", "1")) for name in "ab"))
    slot = two.reserve(group([{"CPU": 1, "GPU": 1}] * 4, "PACK"))
    assert slot is not None
    devices = [(part.node, part.devices) for part in (slot, *slot.others)]
    assert sorted(devices) == [("a", ("0",)), ("a", ("1",)), ("b", ("0",)), ("b", ("1",))]
    assert two.reserve(Resources.parse({"gpu": 0.1})) is None
    two.release(slot)
    assert two.totals() == {"CPU": (0.0, 8.0), "GPU": (0.0, 4.0)}


def test_all_bundles_are_reserved_or_none():
    four = four_nodes()
    assert four.reserve(Resources.of(CPU=4)) is not None
    assert four.reserve(group([{"CPU": 4}] * 4, "SPREAD")) is None
    assert four.totals() == {"CPU": (4.0, 16.0)}
    assert not four.fits(group([{"CPU": 4}] * 4, "SPREAD"))
    assert four.fits(group([{"CPU": 4}] * 3, "STRICT_SPREAD"))


def test_the_slots_of_a_group_live_on_when_nodes_come_and_go():
    four = four_nodes()
    slot = four.reserve(group([{"CPU": 4}] * 2, "STRICT_SPREAD"))
    assert slot is not None
    four.update([Node("b", Resources.of(CPU=4)), Node("e", Resources.of(CPU=4))], [slot])
    assert four.totals() == {"CPU": (4.0, 8.0)}
    four.release(slot)
    assert four.totals() == {"CPU": (0.0, 8.0)}


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.sampled_from(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_a_group_is_placed_exactly_if_it_can_be(bundles, strategy, free):
    nodes = [Node(str(n), Resources.of(CPU=cpus)) for n, cpus in enumerate(free)]

    def is_allowed(choice: tuple[int, ...]) -> bool:
        loads = Counter[int]()
        for node, cpus in zip(choice, bundles, strict=True):
            loads[node] += cpus
        if any(load > free[node] for node, load in loads.items()):
            return False
        if strategy == "STRICT_PACK":
            return len(loads) == 1
        return strategy != "STRICT_SPREAD" or len(loads) == len(bundles)

    possible = any(map(is_allowed, itertools.product(range(len(free)), repeat=len(bundles))))
    slot = placer(*nodes).reserve(group([{"CPU": cpus} for cpus in bundles], strategy))
    assert (slot is not None) == possible
    if slot is not None:
        assert is_allowed(tuple(map(int, places(slot))))


def test_what_nodes_offer_counts_from_the_first_request_on_that_names_it():
    offers = Resources.of(memory=4e9)
    nodes = [Node("a", Resources.of(CPU=8), offers=offers)]
    one = Placer()
    one.update(nodes, [])
    plain, heavy = Resources.parse({"cpu": 1}), Resources.parse({"cpu": 1, "memory": 3e9})
    slots = [one.reserve(plain)]
    assert one.totals() == {"CPU": (1, 8)}
    slots.append(one.reserve(heavy))
    assert one.totals() == {"CPU": (2, 8), "memory": (3e9, 4e9)}
    assert not one.fits(heavy)
    one.update(nodes, slots)
    assert not one.fits(heavy)
    one.release(slots[1])
    assert one.fits(heavy)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=80))
def test_the_lowest_of_nodes_alike_is_found_whoever_comes_and_goes(changes):
    alike = NodesAlike()
    for number, stays in changes:
        alike.pop(number, None)
        if stays:
            alike.add(NodeSlots(Node(f"n{number}", Resources.of(CPU=1)), number))
        for avoided in (None, number):
            found = alike.lowest(avoided)
            others = [other for other in alike if other != avoided]
            assert (None if found is None else found.number) == min(others, default=None)
