"""Counts, the best trial and the order of trials, kept up to date."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.reporters.progress import SweepProgress

STATUSES = [PENDING, RUNNING, PAUSED, TERMINATED, ERROR]


def make_trial(number: int, status: str = PENDING, score: float | None = None) -> Trial:
    trial = Trial(str(number), {})
    trial.status = status
    if score is not None:
        trial.last_result = {"score": score, "val": {"loss": -score}}
    return trial


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(STATUSES)), max_size=6)),
)
def test_counts_follow_the_trials(rounds: list[list[tuple[int, str]]]) -> None:
    progress = SweepProgress()
    trials: list[Trial] = []
    for changes in rounds:
        trials.append(make_trial(len(trials)))
        for number, status in changes:
            trial = trials[number % len(trials)]
            # A resume may have failed trials begin again.
            if trial.status != TERMINATED:
                trial.status = status
        progress.update(trials)
        statuses = [trial.status for trial in trials]
        assert progress.counts() == {s: statuses.count(s) for s in STATUSES if s in statuses}
        assert {*progress.live, *progress.finished} == set(trials)
        assert progress.errors == [t for t in progress.finished if t.status == ERROR]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([RUNNING, TERMINATED, ERROR]),
            st.none() | st.just(math.nan) | st.floats(-5, 5),
        ),
        max_size=8,
    ),
    st.sampled_from(["min", "max"]),
)
def test_the_best_is_the_best(trials: list[tuple[str, float | None]], mode: str) -> None:
    progress = SweepProgress("score", mode)
    made = [make_trial(n, status, score) for n, (status, score) in enumerate(trials)]
    for end in range(len(made) + 1):
        progress.update(made[:end])
    scores = [score for _, score in trials if score is not None and not math.isnan(score)]
    if not scores:
        assert progress.best is None
    else:
        assert progress.best is not None
        assert progress.best.value == {"min": min, "max": max}[mode](scores)
        assert progress.ranked(made)[0].last_result["score"] == progress.best.value


def test_nobody_is_the_best_if_it_is_not_known_whether_more_is_better() -> None:
    progress = SweepProgress("score")
    progress.update([make_trial(0, RUNNING, 5.0), make_trial(1, TERMINATED, 3.0)])
    assert progress.best is None


def test_the_best_of_the_running_may_get_worse_again() -> None:
    progress = SweepProgress("score", "max")
    trials = [make_trial(0, RUNNING, 5.0), make_trial(1, TERMINATED, 3.0)]
    progress.update(trials)
    assert progress.best is not None
    assert progress.best.trial is trials[0]
    trials[0].last_result = {"score": 1.0}
    assert progress.best.trial is trials[1]


def test_nested_metrics_and_several_objectives() -> None:
    progress = SweepProgress(["val/loss", "score"], ["min", "max"])  # type: ignore[arg-type]
    progress.update([make_trial(0, RUNNING, 5.0), make_trial(1, RUNNING, 3.0)])
    assert progress.best is not None
    assert progress.best.value == -5.0


@pytest.mark.parametrize("metric", [None, "other", "text"])
def test_no_best_without_numbers(metric: str | None) -> None:
    trial = make_trial(0, RUNNING)
    trial.last_result = {"text": "x", "score": 1.0}
    progress = SweepProgress(metric, "max")
    progress.update([trial])
    assert progress.best is None


def test_descriptions() -> None:
    progress = SweepProgress(total=40)
    progress.update([make_trial(0, RUNNING), make_trial(1, TERMINATED), make_trial(2)])
    assert progress.describe_counts() == "3/40 (1 RUNNING, 1 PENDING, 1 TERMINATED)"
    assert progress.remaining_s(elapsed=10.0) == 390.0
    endless = SweepProgress(total=sys.maxsize)
    endless.update([make_trial(0, TERMINATED)])
    assert endless.describe_counts() == "1 (1 TERMINATED)"
    assert endless.remaining_s(10.0) is None


def test_samples_that_were_added_count_in_the_total() -> None:
    progress = SweepProgress(total=2)
    progress.update([make_trial(number) for number in range(3)])
    assert progress.total == 3
    progress.set_total(sys.maxsize)
    assert progress.total is None
