"""The key that names one attempt of one trial."""

from __future__ import annotations

from typing import NamedTuple


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
