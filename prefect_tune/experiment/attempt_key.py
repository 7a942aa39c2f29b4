"""Which attempt of which trial."""

from __future__ import annotations

from typing import NamedTuple


class AttemptKey(NamedTuple):
    """Names one attempt of one trial.

    Attributes:
        trial_id: The trial.
        attempt: 1 for the first, counted up over retries and resumes.
    """

    trial_id: str
    attempt: int


#: Where no attempt can be named.
NO_ATTEMPT = AttemptKey("", 0)
