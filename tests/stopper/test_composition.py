from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, RunUntil
from prefect_tune.stopper import (
    CombinedStopper,
    DictStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    JointStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    make_stopper,
)


def never(trial_id: str, result: dict[str, Any]) -> bool:
    return False


class TestMakeStopper:
    def test_every_form(self) -> None:
        mine = MaximumIterationStopper(3)
        assert type(make_stopper(None)) is NoopStopper
        assert type(make_stopper({})) is NoopStopper
        assert type(make_stopper([])) is NoopStopper
        assert type(make_stopper({"a": 1})) is DictStopper
        assert type(make_stopper(never)) is FunctionStopper
        assert make_stopper(mine) is mine
        combined = make_stopper([mine, {"a": 1}, never])
        assert isinstance(combined, CombinedStopper)
        assert [type(s) for s in combined.stoppers] == [
            MaximumIterationStopper,
            DictStopper,
            FunctionStopper,
        ]

    @pytest.mark.parametrize("budget", [5, 5.0, timedelta(seconds=5)])
    def test_time_budget(self, budget: Any) -> None:
        assert type(make_stopper(None, budget)) is TimeoutStopper
        stopper = make_stopper({"a": 1}, budget)
        assert isinstance(stopper, CombinedStopper)
        stopper.on_time(100)
        stopper.on_time(105)
        assert stopper.stop_all()

    @pytest.mark.parametrize("stop", [3, "training_iteration", MaximumIterationStopper, [None, 3]])
    def test_bad_stop(self, stop: Any) -> None:
        with pytest.raises(InvalidArgument, match="`stop`"):
            make_stopper(stop)

    @pytest.mark.parametrize("budget", [0, -1, "1h", float("nan")])
    def test_bad_time_budget(self, budget: Any) -> None:
        with pytest.raises(InvalidArgument, match="`time_budget_s`"):
            make_stopper(None, budget)


class TestCombinedStopper:
    def test_any_stops(self) -> None:
        stopper = DictStopper({"a": 5}) | DictStopper({"b": 3})
        assert stopper("t", {"a": 5, "b": 0})
        assert stopper("t", {"a": 0, "b": 3})
        assert not stopper("t", {"a": 4, "b": 2})

    def test_each_sees_every_result(self) -> None:
        counting = MaximumIterationStopper(3)
        stopper = DictStopper({"a": 0}) | counting
        for _ in range(2):
            assert stopper("t", {"a": 1})
        assert counting("t", {"a": 1})

    def test_waits_at_the_first_point_of_any(self) -> None:
        stopper = DictStopper({"a": 5, "b": 9}) | DictStopper({"b": 3}) | NoopStopper()
        assert stopper.run_until("t") == RunUntil((("a", 5.0), ("b", 3.0)))
        assert (stopper | FunctionStopper(never)).run_until("t") == EVERY_RESULT
        assert CombinedStopper().run_until("t") == NEVER

    def test_is_flat(self) -> None:
        stopper = NoopStopper() | NoopStopper() | NoopStopper()
        assert isinstance(stopper, CombinedStopper)
        assert len(stopper.stoppers) == 3

    def test_bad_member(self) -> None:
        with pytest.raises(InvalidArgument, match="`stoppers`"):
            CombinedStopper([NoopStopper()])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unsupported operand"):
            NoopStopper() | {"a": 1}  # type: ignore[operator]

    def test_state_finds_its_members_again(self) -> None:
        before = CombinedStopper(DictStopper({"a": 5}), MaximumIterationStopper(3))
        before("t", {"a": 1})
        before("t", {"a": 1})
        after = CombinedStopper(TimeoutStopper(9), MaximumIterationStopper(3), NoopStopper())
        after.set_state(before.get_state())
        assert after("t", {"a": 1})


class TestJointStopper:
    def test_all_have_to_agree(self) -> None:
        stopper = DictStopper({"a": 5}) & DictStopper({"b": 3})
        assert not stopper("t", {"a": 5, "b": 0})
        assert stopper("t", {"a": 5, "b": 3})

    def test_end_of_the_experiment_is_a_vote_for_each_trial(self) -> None:
        stopper = TimeoutStopper(10) & DictStopper({"a": 5})
        stopper.on_time(100)
        assert not stopper("t", {"a": 5})
        stopper.on_time(110)
        assert not stopper("t", {"a": 4})
        assert stopper("t", {"a": 5})
        assert not stopper.stop_all()

    def test_ends_the_experiment_only_if_all_do(self) -> None:
        plateau = ExperimentPlateauStopper("score", top=2)
        stopper = TimeoutStopper(10) & plateau
        stopper.on_time(100)
        stopper("t", {"score": 1})
        stopper("t", {"score": 1})
        assert plateau.stop_all()
        assert not stopper.stop_all()
        stopper.on_time(110)
        assert stopper.stop_all()

    def test_waits_wherever_one_could_cast_the_last_vote(self) -> None:
        # Once the time is over, the first operand votes for the end at any `a`.
        stopper = (TimeoutStopper(10) | DictStopper({"a": 100})) & DictStopper({"a": 5})
        stopper.on_time(100)
        stopper.on_time(110)
        assert stopper("t", {"a": 5})
        assert stopper.run_until("t").reached({"a": 5})

    def test_needs_a_member(self) -> None:
        with pytest.raises(InvalidArgument, match="`stoppers`"):
            JointStopper()


def test_promise_is_not_inherited_by_other_decisions() -> None:
    class Other(NoopStopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return True

    class Same(NoopStopper):
        def stop_all(self) -> bool:
            return True

    assert Other().run_until("t") == EVERY_RESULT
    assert Same().run_until("t") == NEVER


def test_stopper_has_to_be_complete() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Stopper()  # type: ignore[abstract]
