"""Which files of an experiment directory storage gets a copy of."""

from __future__ import annotations

import pytest

from prefect_tune.checkpoint.manifest import MARKER
from prefect_tune.storage.fetch import is_mirrored


@pytest.mark.parametrize(
    "name",
    [
        "trial_1/result.json",
        "trial_1/stdout",
        "trial_1/my_checkpoints/best.pt",
        "trial_1/checkpoint_best/best.pt",
        "experiment_state.json",
    ],
)
def test_what_trials_and_loggers_write(name):
    assert is_mirrored(name)


@pytest.mark.parametrize(
    "directory",
    [
        "checkpoint_000010",
        "checkpoint_000010_2",  # of a second attempt
        "checkpoint_000010_2_2",  # written twice by it
        ".checkpoint_.tmp-1-1",
        ".checkpoint_000010.tmp-1-1",
        ".checkpoint_000010_2.old-123",
    ],
)
def test_checkpoints_go_another_way(directory):
    assert not is_mirrored(f"trial_1/{directory}/weights.pt")
    assert not is_mirrored(f"trial_1/{directory}/layers/weights.pt")
    assert not is_mirrored(f"trial_1/{directory}/{MARKER}")
