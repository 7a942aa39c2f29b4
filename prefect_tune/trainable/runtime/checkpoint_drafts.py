"""Drafts: checkpoints that an attempt is writing, in temporary directories of the trial."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import publish, write_manifest
from prefect_tune.checkpoint.metadata import pop_metadata
from prefect_tune.error import InvalidArgument, storage_errors
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.trainable.runtime.attempt import AttemptContext

# Names that differ from those of checkpoints that are being downloaded.
_DRAFT, _OF_ATTEMPT = ".checkpoint_", ".tmp-attempt"
_LEFTOVERS = (f"{_DRAFT}*{_OF_ATTEMPT}*", f"{_DRAFT}*.old-*")


@dataclass(frozen=True, slots=True)
class Draft:
    """Checkpoint that is being written.

    Attributes:
        directory: Temporary directory of the checkpoint.
        step: Number for its final name; None uses the iteration of its result.
    """

    directory: Path
    step: int | None


def remove_drafts(trial_dir: Path, attempt: int) -> None:
    """Remove unfinished checkpoints of an attempt that has ended.

    Args:
        trial_dir: The trial's directory.
        attempt: Number of the attempt; drafts of other attempts stay.
    """
    for directory in trial_dir.glob(f"{_DRAFT}*{_OF_ATTEMPT}{attempt}-*"):
        remove_tree(directory)


class Drafts:
    """Creates temporary directories for an attempt's checkpoints, and renames complete ones.

    Args:
        context: Context of the attempt that writes the checkpoints.
    """

    def __init__(self, context: AttemptContext) -> None:
        self._trial_dir = Path(context.trial_dir)
        self._suffix = context.launch.checkpoint_suffix
        self._attempt = context.launch.attempt
        self._count = itertools.count(1)
        self._names: set[str] = set()
        self._open: list[Draft] = []
        #: Drafts that are written and wait for their result, in the order of writing.
        self.complete: list[Draft] = []

    def remove_leftovers(self) -> None:
        """Remove unfinished checkpoints of earlier attempts of this trial."""
        for pattern in _LEFTOVERS:
            for directory in self._trial_dir.glob(pattern):
                remove_tree(directory)

    def open(self, step: int | None = None) -> Draft:
        """Create an empty directory for a checkpoint.

        Raises:
            StorageError: If the directory cannot be created.
        """
        label = "" if step is None else f"{step:06d}"
        name = f"{_DRAFT}{label}{_OF_ATTEMPT}{self._attempt}-{next(self._count)}"
        directory = self._trial_dir / name
        with storage_errors(f"create the checkpoint directory {directory}"):
            directory.mkdir()
        draft = Draft(directory, step)
        self._open.append(draft)
        return draft

    def register(self, draft: Draft) -> None:
        """Mark a draft as completely written, so that it belongs to the next result."""
        self._open.remove(draft)
        self.complete.append(draft)

    def find(self, path: Path) -> Draft | None:
        """Return the open draft whose directory a path is or lies in; None if there is none."""
        for draft in self._open:
            if draft.directory in (path, *path.parents):
                return draft
        return None

    def discard(self, draft: Draft) -> None:
        """Remove a draft and its directory."""
        self._forget(draft)
        remove_tree(draft.directory)

    def discard_all(self) -> None:
        """Remove all drafts whose result was not reported."""
        for draft in (*self._open, *self.complete):
            self.discard(draft)

    def seal(self, draft: Draft, progress: Progress) -> str:
        """Write the manifest of a checkpoint, which must not change afterwards.

        Args:
            draft: A checkpoint that is completely written.
            progress: Iterations, steps and time of the trial at this checkpoint.

        Returns:
            The final name for the checkpoint.

        Raises:
            StorageError: If it cannot be written.
        """
        with storage_errors(f"write the checkpoint {draft.directory}"):
            metadata = pop_metadata(draft.directory)
            write_manifest(draft.directory, progress, metadata=metadata, attempt=self._attempt)
        step = progress.iteration if draft.step is None else draft.step
        name = wanted = f"checkpoint_{step:06d}{self._suffix}"
        # An earlier checkpoint of this name may still be uploading, or be the one to restore.
        for number in itertools.count(2):
            if name not in self._names:
                break
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def publish(self, draft: Draft, name: str) -> None:
        """Rename a sealed checkpoint to its final name, which completes it.

        Raises:
            StorageError: If it cannot be renamed.
        """
        final = self._trial_dir / name
        with storage_errors(f"rename the checkpoint {draft.directory} to {final}"):
            publish(draft.directory, final)
        self._forget(draft)

    def _forget(self, draft: Draft) -> None:
        for drafts in (self._open, self.complete):
            if draft in drafts:
                drafts.remove(draft)


def valid_step(step: Any) -> int:
    """Return the user's `step` for a checkpoint's name as an int.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
    """
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if isinstance(step, bool) or number < 0:
        raise InvalidArgument(
            "step",
            f"got {step!r:.80}; it becomes part of the checkpoint's name.",
            "It is an integer >= 0, such as the epoch.",
        )
    return number
