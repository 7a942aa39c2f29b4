"""Schedulers and stoppers that are used for a resume in the process that was interrupted.

In a notebook, Ctrl-C and then the same call with ``resume=True`` bring the same objects once more.
They know the results of the interrupted run; a replay would teach them everything twice.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper

_logger = logging.getLogger(__name__)
_states: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()


def begin(scheduler: TrialScheduler, stopper: Stopper) -> None:
    """A run begins: remember in which state they were."""
    for part in _parts(scheduler, stopper):
        try:
            _states[part] = cloudpickle.dumps(part.get_state())
        except Exception as error:
            # Whatever a part of the user's raises; it matters only in the case named above.
            _logger.debug("The state of %r cannot be kept: %s", part, error)


def rewind(scheduler: TrialScheduler, stopper: Stopper) -> None:
    """A run is replayed: take them back to the state in which it began, if it began here."""
    for part in _parts(scheduler, stopper):
        try:
            state = _states.get(part)
        except TypeError:  # of a class whose objects have no hash
            continue
        if state is not None:
            part.set_state(pickle.loads(state))
    begin(scheduler, stopper)


def _parts(scheduler: TrialScheduler, stopper: Stopper) -> Iterator[TrialScheduler | Stopper]:
    yield scheduler
    # The user's stoppers are put together anew for each run.
    yield from getattr(stopper, "stoppers", (stopper,))
