from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from prefect_tune.error import InvalidArgument, MissingMetric, TuneError
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, RunUntil
from prefect_tune.stopper import (
    DictStopper,
    EarlyStopping,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
)
from prefect_tune.testing.simulation import Simulation


def first_stop(stopper: Stopper, values: list[Any], trial_id: str = "t") -> int | None:
    """Number (from 1) of the first result at which the trial stops."""
    for number, value in enumerate(values, start=1):
        if stopper(trial_id, {"score": value}):
            return number
    return None


class TestDictStopper:
    def test_any_threshold_from_below_is_enough(self) -> None:
        stopper = DictStopper({"iterations": 10, "loss": 0.5})
        assert not stopper("t", {"iterations": 9, "loss": 0.4})
        assert stopper("t", {"iterations": 10, "loss": 0.4})
        assert stopper("t", {"iterations": 1, "loss": 0.5})

    def test_nan_reaches_nothing(self) -> None:
        assert not DictStopper({"loss": 0.5})("t", {"loss": math.nan})
        assert DictStopper({"loss": 0.5})("t", {"loss": np.float32(math.inf)})

    def test_nested_metrics_by_flat_names(self) -> None:
        assert DictStopper({"val/acc": 0.9})("t", {"val/acc": 0.95})

    def test_trials_wait_at_the_thresholds(self) -> None:
        stopper = DictStopper({"iterations": 10, "done": True})
        assert stopper.run_until("t") == RunUntil((("iterations", 10.0), ("done", 1.0)))
        assert not stopper.run_until("t").reached({"iterations": 9, "done": False})

    def test_missing_metric_names_itself_and_what_is_there(self) -> None:
        with pytest.raises(MissingMetric, match=r"`stop`.*'acc'.*trial t1.*loss, steps") as caught:
            DictStopper({"acc": 1})("t1", {"steps": 1, "loss": 2.0})
        assert isinstance(caught.value, TuneError)

    def test_final_result_may_lack_a_metric(self) -> None:
        assert not DictStopper({"acc": 1})("t1", {"done": True})

    def test_value_that_is_no_number_is_named(self) -> None:
        with pytest.raises(InvalidArgument, match=r"'acc'"):
            DictStopper({"acc": 1})("t1", {"acc": "high"})

    @pytest.mark.parametrize(
        ("criteria", "problem"),
        [
            ({"a": {"b": 1}}, 'nested.*"a/b"'),
            ({"a": "1"}, "threshold of 'a' is '1'"),
            ({"a": None}, "threshold of 'a' is None"),
            ({"a": math.nan}, "threshold of 'a' is nan"),
            ({3: 1}, "3 is not the name"),
        ],
    )
    def test_bad_criteria(self, criteria: Any, problem: str) -> None:
        with pytest.raises(InvalidArgument, match=f"`stop`: .*{problem}"):
            DictStopper(criteria)


class TestFunctionStopper:
    def test_stops_where_the_function_says(self) -> None:
        stopper = FunctionStopper(lambda trial_id, result: trial_id == "b" and result["x"])
        assert stopper("b", {"x": 1}) is True
        assert stopper("a", {"x": 1}) is False
        assert stopper.stop_all() is False
        assert stopper.run_until("a") == EVERY_RESULT

    @pytest.mark.parametrize(
        "function", [lambda result: True, lambda: True, lambda a, b, c: True, 3, NoopStopper]
    )
    def test_bad_functions(self, function: Any) -> None:
        with pytest.raises(InvalidArgument, match=r"`stop`.*\(trial_id, result\)"):
            FunctionStopper(function)

    def test_is_valid_function(self) -> None:
        assert FunctionStopper.is_valid_function(lambda trial_id, result: True)
        assert not FunctionStopper.is_valid_function(NoopStopper())
        assert not FunctionStopper.is_valid_function({"a": 1})

        class Almost:
            def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
                return True

            def stop_all(self) -> bool:
                return True

        with pytest.raises(InvalidArgument, match="Almost has a stop_all"):
            FunctionStopper.is_valid_function(Almost())


class TestMaximumIterationStopper:
    def test_counts_each_trial(self) -> None:
        stopper = MaximumIterationStopper(3)
        assert first_stop(stopper, [0, 0], "a") is None
        assert first_stop(stopper, [0, 0, 0], "b") == 3
        assert first_stop(stopper, [0], "a") == 1

    def test_trials_of_one_attempt_wait_once(self) -> None:
        simulation = Simulation(
            lambda index, step: {}, num_trials=5, stopper=MaximumIterationStopper(8)
        ).run()
        assert simulation.num_results == 5 * 8
        assert simulation.num_waits == 5

    def test_counts_over_attempts(self) -> None:
        # Fails instead of its third report: two results before, so one more is left to give.
        simulation = Simulation(
            lambda index, step: {},
            num_trials=1,
            stopper=MaximumIterationStopper(3),
            failure=lambda index, step: step == 3,
        ).run()
        assert [step for _, step, _ in simulation.decisions] == [1, 2, 1]

    @pytest.mark.parametrize("value", [0, -1, 1.5, None, True, "3"])
    def test_bad_number(self, value: Any) -> None:
        with pytest.raises(InvalidArgument, match="`max_iter`"):
            MaximumIterationStopper(value)


class TestTrialPlateauStopper:
    def test_stops_when_the_last_results_are_alike(self) -> None:
        stopper = TrialPlateauStopper("score", num_results=3, grace_period=3)
        assert first_stop(stopper, [1, 2, 3, 3, 3.001, 3]) == 5

    def test_standard_deviation_has_to_be_below(self) -> None:
        values = [1.0, 1.5, 1.0, 1.5]
        assert first_stop(TrialPlateauStopper("score", std=0.25), values) is None
        assert first_stop(TrialPlateauStopper("score", std=0.2501), values) == 4

    def test_grace_period_and_window(self) -> None:
        assert first_stop(TrialPlateauStopper("score", grace_period=6), [1] * 9) == 6
        assert first_stop(TrialPlateauStopper("score", num_results=7), [1] * 9) == 7

    def test_threshold_lets_bad_trials_go_on(self) -> None:
        low = TrialPlateauStopper("score", metric_threshold=0.5, mode="min")
        assert first_stop(low, [0.6] * 9 + [0.5] * 4) == 13
        high = TrialPlateauStopper("score", metric_threshold=0.5, mode="max")
        assert first_stop(high, [0.5] * 9) == 4
        assert first_stop(high, [0.4] * 9, "other") is None

    def test_missing_and_nan_values_keep_the_trial_going(self) -> None:
        stopper = TrialPlateauStopper("score", num_results=2, grace_period=0)
        assert first_stop(stopper, [math.nan, math.nan, None, 1, None, 1, 1]) == 7
        assert not stopper("other", {})

    def test_trials_wait_from_the_first_possible_stop(self) -> None:
        simulation = Simulation(
            lambda index, step: {"score": step} if step <= 10 else None,
            num_trials=1,
            stopper=TrialPlateauStopper("score", grace_period=6),
        ).run()
        assert simulation.num_waits == 5

    @pytest.mark.parametrize(
        ("argument", "options"),
        [
            ("metric", {"metric": None}),
            ("std", {"std": 0}),
            ("num_results", {"num_results": 0}),
            ("grace_period", {"grace_period": -1}),
            ("mode", {"metric_threshold": 0}),
            ("metric_threshold", {"metric_threshold": "0", "mode": "min"}),
        ],
    )
    def test_bad_arguments(self, argument: str, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=f"`{argument}`"):
            TrialPlateauStopper(**{"metric": "score", **options})


class TestExperimentPlateauStopper:
    def test_stops_all_when_the_best_are_alike(self) -> None:
        stopper = ExperimentPlateauStopper("score", top=3, mode="max")
        assert first_stop(stopper, [1, 9, 5, 9, 2]) is None
        assert not stopper.stop_all()
        assert stopper("other", {"score": 9})
        assert stopper.stop_all()

    def test_mode_min_keeps_the_lowest(self) -> None:
        assert first_stop(ExperimentPlateauStopper("score", top=2), [1, 9, 9, 9, 1]) == 5

    def test_patience_counts_results_on_the_plateau(self) -> None:
        for patience, expected in ((0, 3), (1, 3), (2, 4), (4, 6)):
            stopper = ExperimentPlateauStopper("score", top=3, patience=patience)
            assert first_stop(stopper, [1] * 10) == expected

    def test_better_result_starts_the_patience_anew(self) -> None:
        stopper = ExperimentPlateauStopper("score", top=2, patience=2)
        assert first_stop(stopper, [5, 5, 1, 1, 1]) == 5

    def test_nan_is_no_result(self) -> None:
        stopper = ExperimentPlateauStopper("score", top=2, mode="max")
        assert first_stop(stopper, [math.nan, 1, math.nan, math.inf, 1]) == 5

    def test_missing_metric_is_an_error(self) -> None:
        with pytest.raises(MissingMetric, match="'score'"):
            ExperimentPlateauStopper("score")("t", {"loss": 1})

    @pytest.mark.parametrize(
        ("argument", "value"),
        [("std", -1), ("std", math.nan), ("top", 1), ("top", 2.5), ("mode", "x"), ("patience", -1)],
    )
    def test_bad_arguments(self, argument: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"`{argument}`"):
            ExperimentPlateauStopper("score", **{argument: value})

    def test_old_name(self) -> None:
        assert EarlyStopping is ExperimentPlateauStopper


class TestTimeoutStopper:
    def test_counts_from_the_first_time_told(self) -> None:
        stopper = TimeoutStopper(timedelta(minutes=1))
        stopper.on_time(1000)
        stopper.on_time(1059)
        assert not stopper.stop_all()
        stopper.on_time(1060)
        assert stopper.stop_all()
        assert not stopper("t", {"timestamp": 9999})

    def test_timestamps_serve_where_nobody_tells_the_time(self) -> None:
        stopper = TimeoutStopper(10)
        stopper("t", {"timestamp": 100})
        stopper("t", {"timestamp": 110})
        assert stopper.stop_all()

    def test_clock_of_another_host_does_not_matter(self) -> None:
        stopper = TimeoutStopper(10)
        stopper.on_time(1000)
        stopper("t", {"timestamp": 90_000})
        stopper.on_time(1001)
        assert not stopper.stop_all()

    def test_clock_set_back_gives_no_time_back(self) -> None:
        stopper = TimeoutStopper(10)
        for now in (1000, 1006, 900, 1003, 1010):
            stopper.on_time(now)
        assert stopper.stop_all()

    def test_time_of_an_interruption_does_not_count(self) -> None:
        stopper = TimeoutStopper(10)
        stopper.on_time(1000)
        stopper.on_time(1006)
        resumed = TimeoutStopper(20)
        resumed.set_state(stopper.get_state())
        resumed.on_resume(5000)
        resumed.on_time(5013)
        assert not resumed.stop_all()
        resumed.on_time(5014)
        assert resumed.stop_all()

    def test_no_trial_waits(self) -> None:
        assert TimeoutStopper(1).run_until("t") == NEVER

    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "10", None, timedelta(0)])
    def test_bad_timeouts(self, value: Any) -> None:
        with pytest.raises(InvalidArgument, match="`timeout`"):
            TimeoutStopper(value)
