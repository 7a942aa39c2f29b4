"""The key of an attempt of a trial, and the error of one that has failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: Files in the trial's directory that hold the error as text, and as a pickled exception.
ERROR_FILE = "error.txt"
ERROR_PICKLE_FILE = "error.pkl"


class AttemptKey(NamedTuple):
    """The key of one attempt of one trial.

    Attributes:
        trial_id: Id of the trial.
        attempt: Number of the attempt: 1 for the first, counted up over retries and resumes.
    """

    trial_id: str
    attempt: int


#: A key that names no attempt.
NO_ATTEMPT = AttemptKey("", 0)


@dataclass(frozen=True, slots=True)
class AttemptError:
    """Why an attempt failed.

    Attributes:
        kind: Name of the exception class, or ``exit``, ``signal``, ``lost``, ``start``,
            ``memory`` (it used more than its share), ``restore`` (the checkpoint to go on from is
            unreadable, or the trial could not load it), ``storage`` (it could not be fetched: the
            store is away), ``export`` (the model could not be exported at the end).
        message: One line.
        traceback: The user's traceback or the last lines of stderr; may be empty.
        exit_code: Exit status of the process, negative for a signal, None if unknown.
        pickled: The pickled exception, if it could be pickled.
    """

    kind: str
    message: str
    traceback: str = ""
    exit_code: int | None = None
    pickled: bytes | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind

    def text(self) -> str:
        """Return the full error: the traceback, or the message and the last lines of stderr."""
        known = self.traceback.strip("\n")
        if not known or self.message in known:
            return known or str(self)
        if known.startswith("Traceback"):
            return f"{known}\n{self}"
        return f"{self}\n{known}"
