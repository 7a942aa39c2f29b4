from __future__ import annotations

import math
import random
from collections import Counter
from statistics import fmean, median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial
from prefect_tune.schedulers import MedianStoppingRule, median_stopping_rule
from prefect_tune.testing.simulation import SimulatedController


class Bench:
    """A rule and running trials that report by hand."""

    def __init__(self, trial_ids: str, **options: Any) -> None:
        options = {
            "time_attr": "t",
            "metric": "score",
            "mode": "max",
            "grace_period": 0,
            "min_samples_required": 2,
            **options,
        }
        self.rule = MedianStoppingRule(**options)
        self.controller = SimulatedController(slots=len(trial_ids))
        self.trials = {trial_id: Trial(trial_id, {}) for trial_id in trial_ids}
        for trial in self.trials.values():
            trial.status = RUNNING
            self.controller.add(trial)
            self.rule.on_trial_add(self.controller, trial)

    def report(self, trial_id: str, t: Any, score: Any) -> str:
        result = {"t": t, "score": score}
        return self.rule.on_trial_result(self.controller, self.trials[trial_id], result)

    def complete(self, trial_id: str, t: Any, score: Any) -> None:
        self.rule.on_trial_complete(
            self.controller, self.trials[trial_id], {"t": t, "score": score}
        )


def test_best_against_median_of_running_means() -> None:
    bench = Bench("abc")
    for t in range(1, 11):
        bench.report("a", t, t)  # mean up to t = 4: 2.5
        bench.report("b", t, 5)  # 5
    assert bench.report("c", 4, 3.75) == "CONTINUE"  # equal to the median of 2.5 and 5
    bench = Bench("abc")
    for t in range(1, 11):
        bench.report("a", t, t)
        bench.report("b", t, 5)
    assert bench.report("c", 4, 3.74) == "STOP"


def test_an_early_good_result_saves_a_trial() -> None:
    bench = Bench("abc", grace_period=2)
    for t in (1, 2, 3):
        bench.report("a", t, 5)
        bench.report("b", t, 5)
    assert bench.report("c", 1, 6) == "CONTINUE"
    assert bench.report("c", 3, 0) == "CONTINUE"


def test_means_leave_out_the_grace_period() -> None:
    bench = Bench("abc", grace_period=2)
    for trial_id in "ab":
        bench.report(trial_id, 1, 100)
        bench.report(trial_id, 2, 1)
    assert bench.report("c", 2, 1) == "CONTINUE"


def test_only_trials_that_came_as_far_count() -> None:
    bench = Bench("abcd", min_samples_required=2)
    bench.report("a", 4, 10)
    bench.report("a", 9, 10)
    bench.report("b", 3, 10)
    assert bench.report("c", 5, 0) == "CONTINUE"  # b has not come to 5
    bench.report("b", 5, 10)
    assert bench.report("c", 5, 0) == "STOP"


def test_finished_trials_count() -> None:
    bench = Bench("abc", min_samples_required=2)
    bench.complete("a", 9, 10)
    bench.report("b", 9, 10)
    bench.complete("b", 9, 10)
    assert bench.report("c", 9, 9) == "STOP"


def test_last_result_is_not_counted_twice() -> None:
    bench = Bench("ab", min_samples_required=1)
    bench.report("a", 1, 4)
    bench.report("a", 2, 0)
    bench.complete("a", 2, 0)
    assert bench.report("b", 2, 1.9) == "STOP"  # the mean is 2, not 4/3


def test_mode_min() -> None:
    bench = Bench("abc", mode="min")
    bench.report("a", 5, 1)
    bench.report("b", 5, 2)
    assert bench.report("c", 5, 1.6) == "STOP"


def test_values_that_are_not_finite_are_left_out() -> None:
    bench = Bench("abc")
    for trial_id in "ab":
        bench.report(trial_id, 1, 1)
        bench.report(trial_id, 2, math.nan)
        bench.report(trial_id, 3, math.inf)
    assert bench.report("c", 2, math.nan) == "CONTINUE"
    assert bench.report("c", 3, 0.5) == "STOP"


def test_only_trials_with_something_to_compare_count() -> None:
    bench = Bench("abcd", grace_period=2, min_samples_required=3)
    for trial_id in "abc":
        bench.report(trial_id, 1, 9)
        bench.report(trial_id, 3, math.nan if trial_id == "c" else 9)
    assert bench.report("d", 3, 1) == "CONTINUE"
    bench.report("c", 3, 9)
    assert bench.report("d", 3, 1) == "STOP"


def test_equal_trials_are_not_stopped_by_rounding() -> None:
    bench = Bench("abc")
    for t in range(1, 30):
        for trial_id in "abc":
            assert bench.report(trial_id, t, 0.1) == "CONTINUE"


def test_yields_to_waiting_trials_while_it_cannot_be_judged() -> None:
    bench = Bench("abc", min_time_slice=3, min_samples_required=3)
    assert bench.report("a", 1, 1) == "CONTINUE"  # nobody waits
    bench.trials["c"].status = PENDING
    assert bench.report("a", 2, 1) == "PAUSE"
    assert bench.report("a", 5, 1) == "CONTINUE"  # its slice is not used up
    assert bench.report("a", 5.5, 1) == "PAUSE"
    bench.trials["c"].status = RUNNING
    bench.trials["b"].status = PAUSED
    assert bench.report("a", 9, 1) == "PAUSE"


def test_soft_stop_pauses_once_and_lets_the_trial_end() -> None:
    bench = Bench("abc", hard_stop=False)
    bench.report("a", 5, 10)
    bench.report("b", 5, 10)
    assert bench.report("c", 5, 1) == "PAUSE"
    assert bench.rule.run_until(bench.trials["c"]) == NEVER
    assert bench.report("c", 6, 1) == "CONTINUE"
    assert "num_stopped=1" in bench.rule.debug_string()


def test_waits_from_the_grace_period_on() -> None:
    rule = MedianStoppingRule(metric="score", mode="max")
    assert rule.run_until(Trial("0", {})) == RunUntil((("time_total_s", 60.0),))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 8), st.integers(-4, 4)), max_size=60
    ),
    st.integers(0, 4),
    st.integers(1, 3),
)
def test_decides_as_the_rule_written_down(
    reports: list[tuple[str, int, int]], grace_period: int, required: int
) -> None:
    """Whatever the order of times, against the rule over the plain list of reports."""
    bench = Bench("abcd", grace_period=grace_period, min_samples_required=required)
    told: dict[str, list[tuple[int, int]]] = {}
    stopped = set()
    for trial_id, t, score in reports:
        if trial_id in stopped:
            continue
        told.setdefault(trial_id, []).append((t, score))
        others = [r for other, r in told.items() if other != trial_id and r[-1][0] >= t]
        scoped = [[s for u, s in r if grace_period <= u <= t] for r in others]
        means = [float(np.mean(s)) for s in scoped if s]
        expected = "CONTINUE"
        if t >= grace_period and len(means) >= required and means:
            best = max(s for _, s in told[trial_id])
            distance = best - float(np.median(means))
            if abs(distance) < 1e-9 and distance != 0:
                return  # decided by the rounding of a mean
            expected = "STOP" if distance < 0 else "CONTINUE"
        decision = bench.report(trial_id, t, score)
        if decision != expected:
            assert len(means) >= required
            assert abs(best - float(np.median(means))) < 1e-9
            return
        if decision == "STOP":
            stopped.add(trial_id)


@pytest.mark.parametrize("most_passed", [1, 8])
@pytest.mark.parametrize("whole", [True, False], ids=["common-times", "own-times"])
def test_decides_among_many_trials_as_the_rule_written_down(
    monkeypatch: pytest.MonkeyPatch, whole: bool, most_passed: int
) -> None:
    monkeypatch.setattr(median_stopping_rule, "_MOST_PASSED", most_passed)
    dice, told, decided = random.Random(5), dict[str, list[tuple[float, int]]](), Counter[str]()
    bench = Bench("".join(map(chr, range(50, 90))), min_samples_required=3, grace_period=1)
    for _ in range(600):
        trial_id = dice.choice([*bench.trials])
        history = told.setdefault(trial_id, [])
        t = (history[-1][0] if history else 0) + (1 if whole else dice.random())
        history.append((t, dice.randrange(1 << 20)))
        others = [h for other, h in told.items() if other != trial_id and h[-1][0] >= t]
        scoped = [[score for u, score in h if 1 <= u <= t] for h in others]
        means = [fmean(scores) for scores in scoped if scores]
        expected = "CONTINUE"
        if t >= 1 and len(means) >= 3 and max(s for _, s in history) < median(means):
            expected = "STOP"
        assert bench.report(trial_id, *history[-1]) == expected
        decided[expected] += 1
        if expected == "STOP":
            del bench.trials[trial_id]
    assert decided["STOP"] >= 5


def test_few_histories_are_looked_up_where_each_trial_has_times_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice, looked_up = random.Random(5), 0
    mean_until = median_stopping_rule._History.mean_until

    def counted(history: Any, time: float) -> float:
        nonlocal looked_up
        looked_up += 1
        return mean_until(history, time)

    bench = Bench("".join(map(chr, range(50, 250))), grace_period=1, hard_stop=False)
    times = dict.fromkeys(bench.trials, 0.0)
    for number in range(30):
        if number == 20:
            monkeypatch.setattr(median_stopping_rule._History, "mean_until", counted)
        for trial_id in bench.trials:
            times[trial_id] += dice.random()
            bench.report(trial_id, times[trial_id], dice.random() + ord(trial_id) / 100)
    assert looked_up < 10 * 200 * 10  # of 10 x 200 x 199


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("grace_period", -1),
        ("grace_period", math.nan),
        ("min_samples_required", -1),
        ("min_samples_required", 2.5),
        ("min_time_slice", "1"),
        ("mode", "median"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        Bench("a", **{argument: value})


def test_metric_that_is_no_number_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"`metric`.*'score'"):
        Bench("a").report("a", 1, "high")
