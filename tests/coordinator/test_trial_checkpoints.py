"""Which checkpoints of a trial are kept, and which one it goes on from."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.coordinator.options import Retention
from prefect_tune.coordinator.trial_checkpoints import SUPERSEDED, CheckpointBook
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.experiment.trial import Trial


def saved(iteration: int, path: str = "", problem: str = "", **metrics) -> TrialCheckpoint:
    return TrialCheckpoint(
        path or f"t/checkpoint_{iteration:06d}", Progress(iteration), metrics, 0.0, problem
    )


def book_of(*checkpoints: TrialCheckpoint, origin: TrialCheckpoint | None = None) -> CheckpointBook:
    trial = Trial("t", {})
    trial.checkpoints = checkpoints
    return CheckpointBook(trial, origin)


def kept(retention: Retention, checkpoints, in_use=()) -> list[int]:
    gone = retention.surplus(checkpoints, in_use)
    return [c.progress.iteration for c in checkpoints if c.path not in gone]


def test_all_are_kept_unless_somebody_says_otherwise():
    assert kept(Retention(), [saved(n) for n in range(5)]) == [0, 1, 2, 3, 4]


def test_without_a_score_the_newest_are_kept():
    assert kept(Retention(2), [saved(n) for n in range(5)]) == [3, 4]


def test_the_best_are_kept_and_the_newest_besides():
    checkpoints = [saved(n, acc=acc) for n, acc in enumerate([0.1, 0.9, 0.8, 0.2, 0.3])]
    assert kept(Retention(2, "acc", "max"), checkpoints) == [1, 2, 4]
    assert kept(Retention(2, "acc", "min"), checkpoints) == [0, 3, 4]


@pytest.mark.parametrize("bad", [{}, {"acc": math.nan}, {"acc": None}, {"acc": "high"}])
@pytest.mark.parametrize("order", ["max", "min"])
def test_one_without_a_number_ranks_worst(bad, order):
    checkpoints = [saved(1, acc=-math.inf), saved(2, **bad), saved(3, acc=math.inf), saved(4)]
    assert kept(Retention(2, "acc", order), checkpoints) == [1, 3, 4]


def test_of_two_that_are_equally_good_the_newer_is_kept():
    checkpoints = [saved(1, acc=1.0), saved(2, acc=1.0), saved(3, acc=0.0)]
    assert kept(Retention(1, "acc"), checkpoints) == [2, 3]


def test_a_score_may_be_nested_or_flat():
    checkpoints = [saved(1, eval={"acc": 1.0}), saved(2, **{"eval/acc": 2.0}), saved(3)]
    assert kept(Retention(1, "eval/acc"), checkpoints) == [2, 3]
    assert kept(Retention(1, "eval/acc", "min"), checkpoints) == [1, 3]
    assert kept(Retention(1, "eval/acc/deep"), checkpoints) == [1, 2, 3]  # nothing is the best


def test_what_is_in_use_is_kept():
    checkpoints = [saved(n) for n in range(4)]
    assert kept(Retention(1), checkpoints, {checkpoints[1].path}) == [1, 3]


def test_the_newest_good_one_is_kept_and_bad_ones_go_first():
    checkpoints = [saved(1, acc=1), saved(2, acc=2), saved(3, acc=3, problem="damaged")]
    assert kept(Retention(1, "acc", "min"), checkpoints) == [1, 2]
    assert kept(Retention(1, "acc", "max"), checkpoints) == [2]


@given(
    st.lists(st.tuples(st.floats() | st.none(), st.booleans()), max_size=8),
    st.integers(1, 4),
    st.sampled_from(["max", "min"]),
)
def test_never_more_than_asked_for_and_one_and_never_without_the_newest(entries, keep, order):
    checkpoints = [
        saved(n, problem="bad" if bad else "", acc=acc) for n, (acc, bad) in enumerate(entries)
    ]
    left = kept(Retention(keep, "acc", order), checkpoints)
    assert min(keep, len(checkpoints)) <= len(left) <= keep + 1
    good = [n for n, (_, bad) in enumerate(entries) if not bad]
    assert not good or good[-1] in left


def test_a_trial_goes_on_from_the_newest_good_one():
    book = book_of(saved(1), saved(2), saved(3))
    first, second, third = book._trial.checkpoints
    assert book.start() == third
    assert book.reject(third, "damaged")
    assert book.start() == second
    assert book.suspect(second)
    assert book.start() == first
    assert [c.problem for c in book._trial.checkpoints] == ["", "", "damaged"]
    assert book._trial.newest_checkpoint == second
    assert book.reject(first, "damaged")
    assert book.start() is None
    book.clear_problems()
    assert book.start() == third


def test_what_the_user_gave_to_start_from_is_never_passed_over():
    origin = saved(100, "/elsewhere/checkpoint")
    book = book_of(origin=origin)
    assert book.start() == origin
    assert not book.reject(origin, "damaged")
    assert not book.suspect(origin)
    assert book.start() == origin
    book.add(saved(101))
    assert book.start() == saved(101)
    book.supersede_all()
    assert book.start() == origin


def test_an_adopted_one_counts_until_there_is_an_own_one():
    book = book_of(saved(1))
    book.adopted = adopted = saved(7, "other/checkpoint_000007")
    assert book.start() == adopted
    book.add(saved(8))
    assert book.start() == saved(8)
    book.adopted = adopted
    assert book.reject(adopted, "damaged")
    assert book.start() == saved(8)


def test_after_a_start_from_scratch_the_old_ones_are_not_gone_on_from():
    book = book_of(saved(1), saved(2))
    book.supersede_all()
    assert book.start() is None
    book.clear_problems()
    assert book.start() is None
    assert {c.problem for c in book._trial.checkpoints} == {SUPERSEDED}


def test_uploads_that_overtake_each_other_are_put_in_order():
    book = book_of(saved(5))
    book.launched()
    for iteration in (7, 6, 8, 6):
        book.add(saved(iteration))
    assert [c.progress.iteration for c in book._trial.checkpoints] == [5, 6, 7, 8]
    # What a later attempt writes is newer, however far it is.
    book.launched()
    book.add(saved(6, "t/checkpoint_000006_2"))
    assert book.start() == saved(6, "t/checkpoint_000006_2")


def test_names_are_told_apart_where_they_could_be_written_twice():
    book = book_of()
    assert book.suffix(1) == ""
    book.add(saved(10))
    assert book.suffix(2) == ""
    book.add(saved(20))
    book.suspect(saved(20))
    assert book.suffix(3) == "_3"
    book.suspects = frozenset()
    assert book.suffix(4) == ""
    book.unclean = True
    assert book.suffix(5) == "_5"


def test_a_finished_trial_keeps_hundreds_of_checkpoints_in_little_memory():
    trial = Trial("t", {})
    metrics = {f"metric_{n}": n / 7 for n in range(20)}
    checkpoints = tuple(saved(n, loss=1 / (n + 1), **metrics) for n in range(200))
    trial.checkpoints = checkpoints
    trial.compact()
    assert len(pickle.dumps(trial)) < 10_000
    assert trial.checkpoints == checkpoints
    assert trial.checkpoints[7].metrics == checkpoints[7].metrics
    assert trial.newest_checkpoint.path == "t/checkpoint_000199"
