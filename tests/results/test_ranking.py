"""Several metrics at once, constraints, importance, and entries by trial."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.results import ExperimentAnalysis, ResultGrid
from prefect_tune.results.importance import importance
from prefect_tune.results.ranking import Condition, pareto_front


def trial(number: int, **metrics: Any) -> Trial:
    made = Trial(
        f"abcde_{number:05d}", {"x": number}, relative_logdir=f"t{number}", evaluated_params={}
    )
    made.update_last_result(metrics, metrics, 0.0)
    made.status = TERMINATED
    return made


def grid(*metrics: dict[str, Any], **options: Any) -> ResultGrid:
    trials = [trial(number, **values) for number, values in enumerate(metrics)]
    return ResultGrid(ExperimentAnalysis("/nowhere", trials, **options))


POINTS = [
    {"acc": 0.9, "ms": 10.0},
    {"acc": 0.8, "ms": 5.0},
    {"acc": 0.8, "ms": 9.0},
    {"acc": 0.99, "ms": 50.0},
    {"acc": math.nan, "ms": 1.0},
]


def test_pareto() -> None:
    results = grid(*POINTS)
    assert [r.config["x"] for r in results.pareto(["acc", "ms"], ["max", "min"])] == [3, 0, 1]
    assert [r.config["x"] for r in results.pareto({"ms": "min", "acc": "max"})] == [1, 0, 3]
    kept = results.pareto(["acc", "ms"], ["max", "min"], constraints="ms < 20")
    assert [r.config["x"] for r in kept] == [0, 1]
    own = grid(*POINTS, default_metric=["acc", "ms"], default_mode=["max", "min"])
    assert len(own.pareto()) == 3
    with pytest.raises(InvalidArgument, match="mode"):
        results.pareto(["acc", "ms"], ["max"])
    with pytest.raises(InvalidArgument, match="metric"):
        results.pareto()


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25))
def test_nobody_in_the_pareto_set_is_beaten_and_everybody_else_is(
    points: list[tuple[int, int, int]],
) -> None:
    trials = [trial(n, a=a, b=b, c=c) for n, (a, b, c) in enumerate(points)]
    front = pareto_front(trials, {"a": "min", "b": "max", "c": "min"})

    def beaten(one: tuple[int, int, int]) -> bool:
        return any(
            o != one and o[0] <= one[0] and o[1] >= one[1] and o[2] <= one[2] for o in points
        )

    chosen = {t.trial_id for t in front}
    assert {t.trial_id for t, p in zip(trials, points, strict=True) if not beaten(p)} == chosen


def test_the_best_under_constraints() -> None:
    results = grid(*POINTS)
    assert results.get_best_result("acc", "max", constraints=["ms <= 10"]).config == {"x": 0}
    chosen = results.get_best_result("acc", "max", constraints=["ms<=10", "config/x > 0"])
    assert chosen.config == {"x": 1}
    with pytest.raises(RuntimeError, match="constraints"):
        results.get_best_result("acc", "max", constraints="ms > 1e9")
    with pytest.raises(InvalidArgument, match="operator value"):
        results.get_best_result("acc", "max", constraints="ms")
    with pytest.raises(RuntimeError, match="constraints"):
        grid(POINTS[0]).get_best_result("acc", "max", constraints="ms < 1")


@pytest.mark.parametrize(
    ("condition", "row", "holds"),
    [
        ("a < 1", {"a": 0.5}, True),
        ("a < 1", {"a": math.nan}, False),
        ("a != 1", {"a": math.nan}, False),
        ("a != 1", {}, False),
        ("a/b>=2", {"a/b": 2}, True),
        ("kind == 'adam'", {"kind": "adam"}, True),
        ("kind != adam", {"kind": "sgd"}, True),
        ("done == true", {"done": True}, True),
        ("done == False", {"done": True}, False),
        ("done == 1", {"done": True}, True),
        ("a == 1", {"a": "text"}, False),
    ],
)
def test_conditions(condition: str, row: dict[str, Any], holds: bool) -> None:
    assert Condition.parse(condition).holds(row) is holds


def test_what_matters_is_found() -> None:
    rng = random.Random(1)
    trials = [
        {"big": rng.random(), "small": rng.random(), "none": rng.random(), "kind": rng.choice("ab")}
        for _ in range(300)
    ]
    values = [10 * p["big"] + 2 * p["small"] + 3 * (p["kind"] == "a") for p in trials]
    shares = importance(trials, values, "min")
    assert next(iter(shares)) == "big"
    assert shares["big"] > 0.6
    assert shares["big"] > shares["kind"] > shares["small"] > shares["none"]
    assert shares["none"] < 0.03


def test_diverged_trials_count_as_the_worst() -> None:
    trials = [{"lr": n / 50, "other": n % 7} for n in range(50)]
    values = [math.nan if n >= 25 else 1.0 + n % 3 for n in range(50)]
    for mode in ("min", "max"):
        assert next(iter(importance(trials, values, mode))) == "lr"


def test_importance_of_little() -> None:
    assert importance([{"a": 1}] * 3, [1, 2, 3], "min") == {}
    assert importance([{"a": n} for n in range(9)], [1.0] * 9, "min") == {}
    assert importance([{"a": 1}] * 9, list(range(9)), "min") == {"a": 0.0}


def test_entries_are_found_by_directory_and_by_id() -> None:
    configs = grid(*POINTS).analysis.get_all_configs()
    assert configs["abcde_00001"] == configs["t1"] == {"x": 1}
    assert "abcde_00001" in configs
    assert configs.get("nope") is None
    assert len(configs) == 5
    with pytest.raises(KeyError):
        configs["nope"]
