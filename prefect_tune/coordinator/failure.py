"""What becomes of a trial whose attempt has ended, and what is told about its failure."""

from __future__ import annotations

import pickle

from prefect_tune.coordinator.events import Fate, Outcome
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.error import TrialFailed
from prefect_tune.experiment.trial import Trial


def fate_of(live: LiveTrial, outcome: Outcome, may_retry: bool) -> Fate:
    """What is to become of a trial.

    Args:
        live: The trial.
        outcome: How its attempt has ended.
        may_retry: Whether it may be tried again if it failed.
    """
    if outcome is Outcome.FINISHED or live.completed:
        return Fate.TERMINATED
    if live.interrupted:
        return Fate.INTERRUPTED
    if outcome is Outcome.PAUSED:
        return Fate.PAUSED
    if outcome is Outcome.STOPPED:
        return Fate.TERMINATED
    return Fate.RETRIED if may_retry else Fate.FAILED


def original_exception(trial: Trial) -> Exception:
    """The exception that user code raised, or a `TrialFailed` that tells about it.

    The pickle comes from our own trial process; an exception class that cannot be loaded here is
    told about in words instead.
    """
    error = trial.error
    if error is not None and error.pickled is not None:
        try:
            loaded = pickle.loads(error.pickled)
        except Exception as problem:
            return TrialFailed(f"{trial} failed: {error} (not loadable here: {problem})", [trial])
        if isinstance(loaded, Exception):
            return loaded
    return TrialFailed(f"{trial} failed: {trial.error_msg}", [trial])
