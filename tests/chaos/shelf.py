"""Looks into the checkpoints that a run has left in storage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

from prefect_tune.checkpoint.manifest import verify
from tests.s3.endpoint import Bucket

from .trainables import STATE, fault_of, read_state


class Shelf(Protocol):
    """Where the checkpoints of a run are."""

    def fault(self, path: str, trial_id: str, iteration: int) -> str:
        """What is wrong with a checkpoint; "" if it is there, complete and right."""
        ...

    def complete(self) -> set[str]:
        """Paths of all directories that are marked as checkpoints."""
        ...


class LocalShelf:
    """Checkpoints in an experiment directory."""

    def __init__(self, experiment_dir: Path) -> None:
        self._dir = experiment_dir

    def fault(self, path: str, trial_id: str, iteration: int) -> str:
        return _fault(self._dir / path, trial_id, iteration)

    def complete(self) -> set[str]:
        found = self._dir.glob("*/checkpoint_*/.is_checkpoint")
        return {str(marker.parent.relative_to(self._dir)) for marker in found}


class BucketShelf:
    """Checkpoints below a prefix of a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._keys = [key.removeprefix(prefix) for key in bucket.keys(prefix)]

    def fault(self, path: str, trial_id: str, iteration: int) -> str:
        below = [key for key in self._keys if key.startswith(f"{path}/")]
        with tempfile.TemporaryDirectory() as scratch:
            for key in below:
                target = Path(scratch, key)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._bucket.read(self._prefix + key))
            return _fault(Path(scratch, path), trial_id, iteration)

    def complete(self) -> set[str]:
        return {key.rpartition("/")[0] for key in self._keys if key.endswith("/.is_checkpoint")}


def _fault(directory: Path, trial_id: str, iteration: int) -> str:
    if not directory.is_dir():
        return "it is missing"
    wrong = verify(directory)
    if wrong:
        return wrong
    if not (directory / STATE).exists():
        return ""  # saved as a dict: its content is what the trial checks when it gets it back
    state, data = read_state(directory)
    if state["iteration"] != iteration:
        return f"it holds iteration {state['iteration']} instead of {iteration}"
    return fault_of(state, data, trial_id)
