"""What a worker other than the first can do with its trial."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.trainable.distributed.worker import _WorkerSession
from prefect_tune.trainable.runner import seed_random_state
from prefect_tune.trainable.runtime.attempt_session import activate
from tests.attempts import changed, make_context


@pytest.fixture
def trial_dir(tmp_path):
    """The directory of a trial, in a worker of it."""
    trial_dir, scratch = tmp_path / "trial", tmp_path / "scratch"
    trial_dir.mkdir()
    scratch.mkdir()
    activate(_WorkerSession(make_context(trial_dir), str(scratch)), whole_process=True)
    yield trial_dir
    activate(None, whole_process=True)
    assert list(scratch.iterdir()) == []


def test_reports_are_checked_and_dropped(trial_dir):
    tune.report({"loss": 1.0}, checkpoint=tune.Checkpoint.from_dict({"step": 1}))
    tune.report(loss=2.0)
    with pytest.raises(InvalidArgument, match="`metrics`"):
        tune.report("loss")
    assert list(trial_dir.iterdir()) == []


def test_checkpoints_are_dropped(trial_dir):
    with tune.checkpoint_dir(step=1) as directory:
        Path(directory, "weights").write_text("1")
    assert not Path(directory).exists()
    assert list(trial_dir.iterdir()) == []
    with pytest.raises(InvalidArgument, match="`step`"), tune.checkpoint_dir(step="one"):
        pass


def test_the_trial_is_that_of_the_first_worker(trial_dir):
    assert tune.get_trial_dir() == str(trial_dir)
    assert tune.get_checkpoint() is None
    with pytest.raises(TuneError, match="only the first starts functions"):
        tune.trial_workers()[0].start(print)


def test_random_numbers_differ_between_workers_and_come_again(tmp_path):
    context = changed(make_context(tmp_path), seed=7)

    def draw(rank):
        seed_random_state(context, rank)
        return random.random()

    assert draw(0) != draw(1) != draw(2)
    assert draw(1) == draw(1)
