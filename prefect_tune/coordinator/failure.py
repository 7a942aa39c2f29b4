"""From a trial's recorded failure back to an exception."""

from __future__ import annotations

import pickle

from prefect_tune.error import TrialFailed
from prefect_tune.experiment.trial import Trial


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
