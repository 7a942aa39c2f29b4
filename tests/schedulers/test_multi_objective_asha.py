from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import MultiObjectiveASHAScheduler, multi_objective_asha
from prefect_tune.schedulers.multi_objective_asha import Rung
from prefect_tune.testing.simulation import SimulatedController


def make(**options: Any) -> MultiObjectiveASHAScheduler:
    return MultiObjectiveASHAScheduler(
        **{"metric": ["loss", "cost"], "max_t": 9, "reduction_factor": 3, **options}
    )


def answers(scheduler: MultiObjectiveASHAScheduler, *results: tuple[float, float]) -> list[str]:
    controller, found = SimulatedController(1), []
    for number, (loss, cost) in enumerate(results):
        trial = Trial(f"t{number}", {})
        scheduler.on_trial_add(controller, trial)
        result = {"training_iteration": 1, "loss": loss, "cost": cost}
        found.append(scheduler.on_trial_result(controller, trial, result))
    return found


def test_who_is_beaten_in_everything_is_stopped() -> None:
    assert answers(make(), (1, 1), (2, 2), (3, 3), (0.5, 0.5)) == [
        "CONTINUE",
        "STOP",
        "STOP",
        "CONTINUE",
    ]


def test_who_is_best_in_one_thing_goes_on() -> None:
    results = [(float(i), 10.0 - i) for i in range(2, 8)] + [(5.0, 9.0)] * 6 + [(0.0, 10.0)]
    assert answers(make(), *results)[-1] == "CONTINUE"
    assert answers(make(mode=["max", "min"]), (1, 1), (2, 0), (0, 3)) == [
        "CONTINUE",
        "CONTINUE",
        "STOP",
    ]


def rank_of_last(rows: list[list[float]]) -> int:
    """How many of the rows come before the last one at a rung."""
    rung = Rung()
    for row in rows:
        rung.add(row)
    return sum(not rung.is_among_first(most) for most in range(1, len(rows) + 1))


def test_the_order_is_that_of_fronts_and_of_distances_within_them() -> None:
    front = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    assert rank_of_last([*front, [0.45, 0.5]]) == 2  # it beats the third
    assert rank_of_last([*front, [2.0, 2.0]]) == 3
    assert rank_of_last([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]]) == 1  # far from the first
    assert rank_of_last([[0.0, 1.0], [1.0, 0.0], [0.1, 0.9]]) == 2
    assert rank_of_last([[1.0, 1.0], [math.inf, 0.0]]) == 1


def front_of_last(rows: list[tuple[float, ...]]) -> tuple[int, int]:
    """How many rows lie in fronts before that of the last one, and how many in its own."""
    rest = list(rows)
    while True:
        front = [
            row
            for row in rest
            if not any(
                other != row and all(a <= b for a, b in zip(other, row, strict=True))
                for other in rest
            )
        ]
        if rows[-1] in front:
            return len(rows) - len(rest), len(front)
        rest = [row for row in rest if row not in front]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), min_size=1, max_size=40),
    restored=st.integers(0, 40),
)
def test_fronts_are_those_of_all_that_are_kept(
    rows: list[tuple[float, ...]], restored: int
) -> None:
    """Also when the oldest have left, and behind a snapshot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_objective_asha, "_MOST_COMPARED", 12)
        rung = Rung()
        for number, row in enumerate(rows, 1):
            rung.add(row)
            if number == restored:
                rung = pickle.loads(pickle.dumps(rung))
            before, equal = front_of_last(rows[max(0, number - 12) : number])
            assert len(rung) == min(number, 12)
            assert not rung.is_among_first(before)
            assert rung.is_among_first(before + equal)


def test_waits_at_rungs_only_and_ends_at_the_last() -> None:
    scheduler, controller, trial = make(), SimulatedController(1), Trial("t", {})
    scheduler.on_trial_add(controller, trial)
    for step, until in ((1, 3), (3, 9)):
        assert scheduler.run_until(trial).thresholds[0][1] == step
        result = {"training_iteration": step, "loss": 1, "cost": 1}
        assert scheduler.on_trial_result(controller, trial, result) == "CONTINUE"
        assert scheduler.run_until(trial).thresholds[0][1] == until
    result = {"training_iteration": 9, "loss": 1, "cost": 1}
    assert scheduler.on_trial_result(controller, trial, result) == "STOP"
    assert "1: 1 | 3: 1" in scheduler.debug_string()


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"metric": "loss"}, "metric"),
        ({"metric": ["loss"]}, "metric"),
        ({"mode": ["min"]}, "mode"),
        ({"mode": "best"}, "mode"),
        ({"max_t": 0}, "max_t"),
        ({"grace_period": 10}, "grace_period"),
        ({"reduction_factor": 1}, "reduction_factor"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        make(**options)


def test_the_metric_of_the_experiment_is_one_of_the_schedulers() -> None:
    scheduler = make(metric=["loss", "speed"], mode=["min", "max"])
    assert scheduler.set_search_properties(None, None)
    assert scheduler.set_search_properties("speed", "max")
    for metric, mode in (("speed", "min"), ("accuracy", "max")):
        with pytest.raises(InvalidArgument, match=r"none of .* 'loss' \(min\), 'speed' \(max\)"):
            scheduler.set_search_properties(metric, mode)
