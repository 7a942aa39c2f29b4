"""The states of schedulers, searchers and stoppers from before an experiment used them.

In a notebook, Ctrl-C and then the same call with ``resume=True`` pass the same objects again. These
know the results of the interrupted run already, and have its metric and search space: a replay
would tell them all results twice, and checks would take the metric of the first run for the user's
own argument. So their first state is kept, and a resume sets them back to it. The same goes for a
call that fails because of another argument and is made again with a better one.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from prefect_tune.error import InvalidArgument
from prefect_tune.stopper import Stopper

_logger = logging.getLogger(__name__)


class _InitialState:
    """The state and the attribute names of an object before its first use."""

    __slots__ = ("attributes", "state")

    def __init__(self, part: Any) -> None:
        self.state = cloudpickle.dumps(part.get_state())
        self.attributes = frozenset(getattr(part, "__dict__", ()))

    def restore(self, part: Any) -> None:
        # `set_state` does not remove attributes that the object has got since.
        for name in set(getattr(part, "__dict__", ())) - self.attributes:
            delattr(part, name)
        part.set_state(pickle.loads(self.state))


#: Ids of the schedulers of experiments that run now, whose setups keep them alive.
_in_use: set[int] = set()
_first_states: WeakKeyDictionary[Any, _InitialState] = WeakKeyDictionary()


class InitialStates:
    """The initial states of the scheduler, searcher and stoppers of an experiment."""

    def __init__(self) -> None:
        self._states: list[tuple[Any, _InitialState]] = []
        self._exclusive: list[Any] = []

    def add(self, part: Any, *, restores: bool, argument: str = "") -> None:
        """Note the state of a scheduler, searcher or stopper before the experiment uses it.

        Args:
            part: The user's object; one without `get_state` is ignored.
            restores: True first sets the object back to its initial state, if an experiment of this
                process has used it.
            argument: Name of the argument, for an object that can serve one experiment at a time
                only.

        Raises:
            InvalidArgument: If such an object serves another running experiment.
        """
        if argument and id(part) in _in_use:
            raise InvalidArgument(
                argument,
                f"this {type(part).__name__} is in use by another experiment.",
                "Give each experiment that runs at the same time one of its own.",
            )
        if argument and part is not None:
            self._exclusive.append(part)
        for member in getattr(part, "stoppers", (part,)):
            if not hasattr(member, "get_state") or isinstance(member, type):
                continue
            try:
                first = _first_states.get(member) if restores else None
                if first is None:
                    first = _InitialState(member)
                else:
                    first.restore(member)
            except Exception as error:
                # A user's class may raise anything, and an object without a hash a TypeError. The
                # state is only needed if the same object is used again.
                _logger.debug("The state of %r cannot be kept: %s", member, error)
            else:
                self._states.append((member, first))

    def mark_in_use(self) -> None:
        """Keep the initial states for later setups, and mark the scheduler as in use."""
        _first_states.update(self._states)
        _in_use.update(map(id, self._exclusive))

    def release(self) -> None:
        """Let other experiments use the scheduler, now that this experiment has ended."""
        _in_use.difference_update(map(id, self._exclusive))

    def restore(self) -> None:
        """Set all parts back to their initial states after a setup that failed."""
        for member, first in self._states:
            try:
                first.restore(member)
            except Exception as error:
                _logger.debug("%r cannot be set back to its initial state: %s", member, error)


def stoppers_in(stop: Any) -> list[Stopper]:
    """Return the `Stopper` objects in the user's `stop` argument."""
    given = stop if isinstance(stop, (list, tuple)) else [stop]
    return [item for item in given if isinstance(item, Stopper)]


def fingerprint(part: Any) -> str:
    """Return a text that is equal for equally constructed schedulers or stoppers.

    Args:
        part: A scheduler or stopper that has not been used yet.

    Returns:
        The fingerprint; "" if the state of the part cannot be pickled.
    """
    try:
        facts = (type(part).__qualname__, part.get_state())
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, protocol=5)
        # Without the memo: whether two equal strings are one object is chance.
        pickler.fast = True
        pickler.dump(facts)
        data = buffer.getvalue()
    except Exception:
        # Plain pickle refuses some functions, and without memo objects that refer to each other.
        try:
            data = cloudpickle.dumps(facts)
        except Exception as error:
            _logger.debug("%r has no fingerprint: %s", part, error)
            return ""
    return hashlib.sha256(data).hexdigest()[:32]
