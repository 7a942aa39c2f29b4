"""Schedulers, searchers and stoppers as the user gave them, before an experiment used them.

In a notebook, Ctrl-C and then the same call with ``resume=True`` bring the same objects once more.
They know the results of the interrupted run, and have its metric and search space; a replay would
teach them everything twice, and their constructors' checks would take what they got from the first
run for the user's own. So their first state is remembered, and a resume takes them back to it. The
same goes for a call that is refused for another argument and made again with a better one.
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


class _State:
    """The first state of an object, and the attributes it had."""

    __slots__ = ("attributes", "state")

    def __init__(self, part: Any) -> None:
        self.state = cloudpickle.dumps(part.get_state())
        self.attributes = frozenset(getattr(part, "__dict__", ()))

    def restore(self, part: Any) -> None:
        # What it has got since is not in the old state, and would stay.
        for name in set(getattr(part, "__dict__", ())) - self.attributes:
            delattr(part, name)
        part.set_state(pickle.loads(self.state))


#: Ids of what serves an experiment that runs now; its plan keeps them alive.
_busy: set[int] = set()
_known: WeakKeyDictionary[Any, _State] = WeakKeyDictionary()


class InitialStates:
    """The first states of the scheduler, searcher and stoppers of an experiment that is planned."""

    def __init__(self) -> None:
        self._states: list[tuple[Any, _State]] = []
        self._exclusive: list[Any] = []

    def add(self, part: Any, *, restores: bool, argument: str = "") -> None:
        """A scheduler, searcher or stopper is going to be used.

        Args:
            part: As the user gave it; anything without `get_state` is passed over.
            restores: True brings it back to the state in which it began, if it began here.
            argument: What it was given as, if it can serve one experiment at a time only.

        Raises:
            InvalidArgument: If it can, and serves another one.
        """
        if argument and id(part) in _busy:
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
                first = _known.get(member) if restores else None
                if first is None:
                    first = _State(member)
                else:
                    first.restore(member)
            except Exception as error:
                # Whatever a part of the user's raises, or a TypeError for objects without a hash;
                # it matters only if the same object is used once more.
                _logger.debug("The state of %r cannot be kept: %s", member, error)
            else:
                self._states.append((member, first))

    def remember(self) -> None:
        """The experiment begins."""
        _known.update(self._states)
        _busy.update(map(id, self._exclusive))

    def release(self) -> None:
        """The experiment has ended."""
        _busy.difference_update(map(id, self._exclusive))

    def restore(self) -> None:
        """Nothing comes of the plan: leave everything as it was given."""
        for member, first in self._states:
            try:
                first.restore(member)
            except Exception as error:
                _logger.debug("%r cannot be taken back: %s", member, error)


def stoppers_in(stop: Any) -> list[Stopper]:
    """The stoppers in a user's `stop`."""
    given = stop if isinstance(stop, (list, tuple)) else [stop]
    return [item for item in given if isinstance(item, Stopper)]


def fingerprint(part: Any) -> str:
    """What tells whether two parts were constructed alike; "" if that cannot be told.

    Args:
        part: A scheduler or stopper that has not been used yet.
    """
    try:
        facts = (type(part).__qualname__, part.get_state())
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, protocol=5)
        # Without its memory: whether two equal texts are one object is chance.
        pickler.fast = True
        pickler.dump(facts)
        data = buffer.getvalue()
    except Exception:
        # Functions, or objects that refer to each other.
        try:
            data = cloudpickle.dumps(facts)
        except Exception as error:
            _logger.debug("%r has no fingerprint: %s", part, error)
            return ""
    return hashlib.sha256(data).hexdigest()[:32]
