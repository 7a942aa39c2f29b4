"""The checkpoints that an attempt is writing: directories of the trial that have no name yet."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import publish, write_manifest
from prefect_tune.checkpoint.metadata import pop_metadata
from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.trainable.runtime.attempt import AttemptContext

# Others have directories of other names there, for checkpoints that arrive from elsewhere.
_DRAFT, _OF_ATTEMPT = ".checkpoint_", ".tmp-attempt"
_LEFTOVERS = (f"{_DRAFT}*{_OF_ATTEMPT}*", f"{_DRAFT}*.old-*")


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint that is being written.

    Attributes:
        directory: Where, until it gets its name.
        step: The number in its name; None for the iteration of the result that it belongs to.
    """

    directory: Path
    step: int | None


def remove_drafts(trial_dir: Path, attempt: int) -> None:
    """Remove what an attempt that is over had begun to write.

    Args:
        trial_dir: The trial's directory.
        attempt: Its number; drafts of other attempts stay.
    """
    for directory in trial_dir.glob(f"{_DRAFT}*{_OF_ATTEMPT}{attempt}-*"):
        remove_tree(directory)


class Drafts:
    """Makes directories for checkpoints and gives them their names.

    Args:
        context: The attempt that writes them.
    """

    def __init__(self, context: AttemptContext) -> None:
        self._trial_dir = Path(context.trial_dir)
        self._suffix = context.launch.checkpoint_suffix
        self._attempt = context.launch.attempt
        self._count = itertools.count(1)
        self._names: set[str] = set()
        self._open: list[Draft] = []
        #: Written, and waiting for the result that they belong to; in the order they were written.
        self.complete: list[Draft] = []

    def remove_leftovers(self) -> None:
        """Remove what earlier attempts of this trial had not finished when they were killed."""
        for pattern in _LEFTOVERS:
            for directory in self._trial_dir.glob(pattern):
                remove_tree(directory)

    def open(self, step: int | None = None) -> Draft:
        """A new, empty directory.

        Raises:
            StorageError: If it cannot be made.
        """
        label = "" if step is None else f"{step:06d}"
        name = f"{_DRAFT}{label}{_OF_ATTEMPT}{self._attempt}-{next(self._count)}"
        directory = self._trial_dir / name
        try:
            directory.mkdir()
        except OSError as error:
            raise StorageError(f"No directory for a checkpoint can be made: {error}") from error
        draft = Draft(directory, step)
        self._open.append(draft)
        return draft

    def register(self, draft: Draft) -> None:
        """The draft is written: it belongs to the next result."""
        self._open.remove(draft)
        self.complete.append(draft)

    def find(self, path: Path) -> Draft | None:
        """The open draft whose directory this is, or that it lies in."""
        for draft in self._open:
            if draft.directory in (path, *path.parents):
                return draft
        return None

    def discard(self, draft: Draft) -> None:
        """Remove a draft."""
        for drafts in (self._open, self.complete):
            if draft in drafts:
                drafts.remove(draft)
        remove_tree(draft.directory)

    def discard_all(self) -> None:
        """Remove every draft that no result was reported for."""
        for draft in (*self._open, *self.complete):
            self.discard(draft)

    def seal(self, draft: Draft, progress: Progress) -> str:
        """Write down what the checkpoint consists of; nobody may change it from here on.

        Args:
            draft: The checkpoint, written completely.
            progress: How far the trial was.

        Returns:
            The name it is to get.

        Raises:
            StorageError: If it cannot be written.
        """
        try:
            metadata = pop_metadata(draft.directory)
            write_manifest(
                draft.directory, metadata=metadata, progress=progress, attempt=self._attempt
            )
        except OSError as error:
            raise StorageError(f"A checkpoint cannot be written: {error}") from error
        step = progress.iteration if draft.step is None else draft.step
        name = wanted = f"checkpoint_{step:06d}{self._suffix}"
        # One that had this name may still be on its way to storage, or be the one to go on from.
        for number in itertools.count(2):
            if name not in self._names:
                break
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def publish(self, draft: Draft, name: str) -> None:
        """Give a sealed checkpoint its name: from now on it exists.

        Raises:
            StorageError: If it cannot be renamed.
        """
        try:
            publish(draft.directory, self._trial_dir / name)
        except OSError as error:
            raise StorageError(f"The checkpoint {name} cannot be put in place: {error}") from error
        for drafts in (self._open, self.complete):
            if draft in drafts:
                drafts.remove(draft)


def valid_step(step: Any) -> int:
    """The number of a checkpoint.

    Raises:
        InvalidArgument: If it is no integer, or negative.
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
