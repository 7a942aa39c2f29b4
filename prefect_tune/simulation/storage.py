"""Where simulated trials keep their checkpoints."""

from __future__ import annotations

from collections.abc import Callable

from prefect_tune.experiment.attempt import AttemptError

#: Seconds that the upload of a checkpoint takes, by its path; None for one that fails.
UploadSeconds = Callable[[str], float | None]


def at_once(path: str) -> float | None:
    """Return 0, as on a shared file system, where a complete checkpoint is in storage."""
    return 0.0


class SimulatedStorage:
    """A store of checkpoints that can be away or damaged.

    Args:
        upload_s: How long uploads take.

    Attributes:
        stored: Paths of the checkpoints that are there.
        spoiled: Those of them that cannot be read.
        away: True if nothing can be read at the moment.
        overwritten: Paths that were written although they were there.
    """

    def __init__(self, upload_s: UploadSeconds = at_once) -> None:
        self.upload_s = upload_s
        self.stored: set[str] = set()
        self.spoiled: set[str] = set()
        self.away = False
        self.overwritten: list[str] = []

    def put(self, path: str) -> None:
        """Add a complete checkpoint."""
        if path in self.stored:
            self.overwritten.append(path)
        self.stored.add(path)

    def delete(self, path: str) -> None:
        """Delete a checkpoint, if it is there."""
        self.stored.discard(path)

    def problem(self, path: str) -> AttemptError | None:
        """Return why an attempt cannot go on from a checkpoint; None if it can."""
        if self.away:
            return AttemptError("storage", "the store does not answer")
        if path not in self.stored:
            return AttemptError("restore", f"{path} is not there")
        if path in self.spoiled:
            return AttemptError("restore", f"{path} is damaged")
        return None
