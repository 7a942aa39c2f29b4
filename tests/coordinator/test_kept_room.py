"""Large requests among small ones: none waits for ever, and the nodes stay busy."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.kept_room import KeptRoom
from prefect_tune.coordinator.placement import Placer
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import PlacementGroupFactory, Resources
from tests.coordinator.placement_sweep import sweep

SMALL, WHOLE = Resources.of(CPU=1), Resources.of(CPU=4)


def group(bundles: list[float], strategy: str) -> Resources:
    return Resources.parse(PlacementGroupFactory([{"CPU": cpus} for cpus in bundles], strategy))


def test_a_large_trial_is_overtaken_a_bounded_number_of_times():
    placer = Placer()
    placer.update([Node("a", Resources.of(CPU=4))], [])
    room = KeptRoom(placer)
    large = Trial("large", {}, resources=WHOLE)
    slots = [room.reserve(Trial("first", {}, resources=SMALL))]
    overtaken = 0
    while not room.fits(large):
        assert overtaken <= 20
        small = Trial(f"{overtaken}", {}, resources=SMALL)
        while room.fits(small):
            slots.append(room.reserve(small))
            overtaken += 1
        slot = slots.pop(0)
        assert slot is not None
        placer.release(slot)
    assert room.reserve(large) is not None
    assert overtaken >= 8


def test_room_is_not_kept_for_a_trial_that_the_scheduler_does_not_want_any_more():
    placer = Placer()
    placer.update([Node("a", Resources.of(CPU=4))], [])
    room = KeptRoom(placer)
    slot = room.reserve(Trial("runs", {}, resources=SMALL))
    assert slot is not None
    assert not room.fits(Trial("large", {}, resources=WHOLE))
    for number in range(20):
        small = room.reserve(Trial(f"{number}", {}, resources=SMALL))
        if small is not None:
            placer.release(small)
    assert placer.totals() == {"CPU": (1.0, 4.0)}
    other = Trial("other", {}, resources=SMALL)
    assert not room.fits(other)  # all the rest is kept
    assert not room.end_round()  # it was asked for before
    assert not room.fits(other)
    assert room.end_round()
    assert room.fits(other)


@pytest.mark.parametrize("sizes", [[8], [8, 10, 16, 64]], ids=["equal nodes", "mixed nodes"])
def test_a_thousand_nodes_of_mixed_sizes_are_busy_and_nobody_waits_for_ever(sizes):
    rng = random.Random(4)
    requests = [
        *(Resources.of(CPU=cpus) for cpus in (1, 2, 4, 8)),
        group([4] * 4, "SPREAD"),
        group([8] * 8, "STRICT_SPREAD"),
        group([2, 4, 4, 4], "PACK"),
        group([1, 3, 4], "STRICT_PACK"),
    ]
    nodes = [Node(f"n{number}", Resources.of(CPU=rng.choice(sizes))) for number in range(1000)]
    outcome = sweep(nodes, [(rng.choice(requests), rng.uniform(0.5, 1.5)) for _ in range(4000)])
    # All of them could be busy all the time: that is the bound.
    assert outcome.utilisation >= 0.95


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [SMALL, WHOLE, group([1, 1], "STRICT_SPREAD"), group([4, 2, 2], "PACK")]
            ),
            st.sampled_from([0.1, 1.0, 1.5]),
        ),
        max_size=60,
    ),
    st.integers(2, 4),
)
def test_every_trial_runs(jobs: list[tuple[Resources, float]], nodes: int):
    sweep([Node(f"n{number}", Resources.of(CPU=4)) for number in range(nodes)], jobs)


def test_a_stream_of_small_trials_does_not_starve_a_group():
    rng = random.Random(1)
    jobs = [(SMALL, rng.uniform(0.5, 1.5)) for _ in range(600)]
    spread = group([4, 4, 4], "STRICT_SPREAD")
    jobs.insert(8, (spread, 1.0))
    outcome = sweep([Node(f"n{number}", Resources.of(CPU=4)) for number in range(4)], jobs)
    # 16 launches, and until then and at most two lengths more.
    assert outcome.waited[spread] < 4
