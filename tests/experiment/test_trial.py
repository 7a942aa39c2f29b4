"""The record of a trial."""

from __future__ import annotations

import pickle
import sys
import threading

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial, TrialTerms
from prefect_tune.nested import flatten


def test_callbacks_may_keep_attributes_of_their_own_on_a_trial() -> None:
    trial = Trial("a", {"x": 1})
    trial.note = 5  # type: ignore[attr-defined]
    trial.lock = threading.Lock()  # type: ignore[attr-defined]
    trial.update_last_result({"loss": 1.0}, {"loss": 1.0}, 3.0)
    other = pickle.loads(pickle.dumps(trial))
    assert vars(other) == {"note": 5}
    assert (other.trial_id, other.config, other.last_result) == ("a", {"x": 1}, {"loss": 1.0})
    assert other.metric_analysis == trial.metric_analysis


@pytest.mark.parametrize(
    "number_like", [True, np.float32(1), np.int64(1), np.array(1), np.bool_(True)]
)
def test_truth_values_and_numpy_numbers_have_statistics(number_like: object) -> None:
    trial = Trial("a", {})
    for value in (False, number_like, "text", [1]):
        trial.update_last_result({}, flatten({"m": {"x": value}}), 0.0)
    assert trial.metric_analysis["m/x"]["max"] == 1
    assert trial.metric_value("m/x", "last", "max") == 1


@given(st.lists(st.tuples(st.floats(), st.integers(-9, 9)), min_size=1, max_size=25))
@example([(sys.float_info.max, 0)] * 3)
@example([(9 * 10**307, 0), (9 * 10**307, 0), (0.5, 0)])
def test_results_recorded_together_have_the_statistics_of_single_ones(
    rows: list[tuple[float, int]],
) -> None:
    together, singly = Trial("a", {}), Trial("a", {})
    names = ("m", "n")
    for row in rows:
        result = dict(zip(names, row, strict=True))
        singly.update_last_result(result, result, 3.0)
    singly.compact()
    together.record_all(result, 3.0, names, [(*row, "not used") for row in rows])
    for known in (together, pickle.loads(pickle.dumps(together))):
        assert repr(known.metric_analysis) == repr(singly.metric_analysis)
        assert (known.results_seen, known.last_update_time) == (len(rows), 3.0)


def test_the_mean_of_the_largest_numbers_is_not_beyond_them() -> None:
    trial = Trial("a", {})
    for _ in range(3):
        trial.update_last_result({}, {"m": sys.float_info.max}, 0.0)
    assert trial.metric_value("m", "last-5-avg", "max") == sys.float_info.max


def test_a_trial_tells_what_the_experiment_asks_of_it() -> None:
    trial = Trial("a", {}, terms=TrialTerms({"loss": 3}, max_failures=2, checkpoint_freq=5))
    for known in (trial, pickle.loads(pickle.dumps(trial))):
        assert known.stopping_criterion == {"loss": 3}
        assert (known.max_failures, known.checkpoint_freq) == (2, 5)
        assert (known.checkpoint_at_end, known.keep_checkpoints_num) == (False, None)
        assert known.checkpoint_score_attr == "training_iteration"


def test_a_trial_made_by_hand_needs_no_configuration() -> None:
    trial = Trial("a")
    assert trial.config == {}
    assert (trial.stopping_criterion, trial.max_failures, trial.checkpoint_freq) == ({}, 0, 0)


def test_a_record_of_an_earlier_version_is_read() -> None:
    own, slots = Trial("a", {"x": 1}).__getstate__()
    del slots["_terms"]
    old = Trial.__new__(Trial)
    old.__setstate__((own, slots))
    assert (old.config, old.max_failures) == ({"x": 1}, 0)
    pickle.dumps(old)


def test_what_opens_its_checkpoints_is_handed_in() -> None:
    saved = TrialCheckpoint("t/checkpoint_000001")
    terms = TrialTerms(open_checkpoint=lambda checkpoint, directory: (checkpoint.path, directory))
    trial = Trial("t", {}, local_experiment_dir="/runs/e", terms=terms)
    assert trial.checkpoint is None
    trial.checkpoints = (saved,)
    assert trial.checkpoint == ("t/checkpoint_000001", "/runs/e")
    bare = Trial("t", {})
    bare.checkpoints = (saved,)
    assert bare.checkpoint is saved
