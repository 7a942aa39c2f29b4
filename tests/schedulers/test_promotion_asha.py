from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import PromotionASHAScheduler
from prefect_tune.testing.simulation import Simulation


def make(**options: Any) -> PromotionASHAScheduler:
    return PromotionASHAScheduler(
        **{"metric": "score", "mode": "max", "max_t": 9, "reduction_factor": 3, **options}
    )


def run(scores: list[float], slots: int = 1, pending: int = 1, **options: Any) -> Simulation:
    return Simulation(
        lambda index, step: {"score": scores[index]},
        num_trials=len(scores),
        scheduler=make(**options),
        slots=slots,
        pending=pending,
    ).run()


def reached(simulation: Simulation) -> dict[int, int]:
    found: dict[int, int] = {}
    for trial_id, step, _ in simulation.decisions:
        found[int(trial_id)] = max(step, found.get(int(trial_id), 0))
    return found


def test_one_worker_does_what_the_algorithm_of_the_paper_does() -> None:
    scores = [0.3, 0.9, 0.1, 0.5, 0.2, 0.8, 0.6, 0.4, 0.7]
    simulation = run(scores)
    # Jobs in order, as (trial, rung): a promotion whenever the best third of a rung has room.
    steps = [(int(trial), step) for trial, step, _ in simulation.decisions]
    assert steps[:5] == [(0, 1), (1, 1), (2, 1), (1, 2), (1, 3)]
    assert reached(simulation) == {0: 1, 1: 9, 2: 1, 3: 1, 4: 1, 5: 3, 6: 1, 7: 1, 8: 3}


def test_a_good_trial_is_not_lost_because_it_came_early() -> None:
    # The second best came first: with stops instead of pauses it would have gone on alone.
    simulation = run([0.8, 0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert reached(simulation)[0] == 3


def test_who_waits_at_the_end_ends() -> None:
    simulation = run([0.1, 0.2])
    assert reached(simulation) == {0: 1, 1: 1}
    assert simulation.controller.get_live_trials() == []


def test_the_least_is_best_where_it_is_to_be_minimised() -> None:
    assert reached(run([0.3, 0.1, 0.2], mode="min")) == {0: 1, 1: 3, 2: 1}


def test_values_that_are_no_number_are_the_worst() -> None:
    assert reached(run([math.nan, 0.1, math.nan]))[1] == 3


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(1, 40),
    slots=st.integers(1, 6),
    pending=st.integers(1, 12),
    max_t=st.integers(1, 27),
    factor=st.sampled_from([1.5, 2, 3]),
    seed=st.integers(0, 999),
)
def test_no_course_of_trials_leaves_one_behind(
    trials: int, slots: int, pending: int, max_t: int, factor: float, seed: int
) -> None:
    dice = random.Random(seed)
    scores = [dice.random() for _ in range(trials)]
    ends = [dice.choice([2, max_t, 3 * max_t]) for _ in range(trials)]
    broken = {(dice.randrange(trials), dice.randrange(1, max_t + 1)) for _ in range(trials // 3)}
    simulation = Simulation(
        lambda index, step: {"score": scores[index]} if step <= ends[index] else None,
        num_trials=trials,
        scheduler=make(max_t=max_t, reduction_factor=factor),
        slots=slots,
        pending=pending,
        duration=lambda index, step: 0.5 + scores[index],
        failure=lambda index, step: (index, step) in broken,
    ).run()  # raises if trials are left that nobody will run
    assert simulation.is_over


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_t": 0}, "max_t"),
        ({"grace_period": 10}, "grace_period"),
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"reduction_factor": 1.0000001, "max_t": 100}, "reduction_factor"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        make(**options)


def test_describes_its_rungs() -> None:
    text = run([0.3, 0.1, 0.2]).scheduler.debug_string()
    assert "Rung 1: 3 came, 0 wait" in text
