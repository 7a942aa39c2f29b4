"""Schedulers, searchers and stoppers as the user gave them, before an experiment used them.

In a notebook, Ctrl-C and then the same call with ``resume=True`` bring the same objects once more.
They know the results of the interrupted run, and have its metric and search space; a replay would
teach them everything twice, and their constructors' checks would take what they got from the first
run for the user's own. So their first state is remembered, and a resume takes them back to it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from prefect_tune.stopper import Stopper

_logger = logging.getLogger(__name__)


class _First:
    """The first state of an object, and the attributes it had."""

    __slots__ = ("attributes", "state")

    def __init__(self, part: Any) -> None:
        self.state = cloudpickle.dumps(part.get_state())
        self.attributes = frozenset(getattr(part, "__dict__", ()))

    def give_back(self, part: Any) -> None:
        # What it has got since is not in the old state, and would stay.
        for name in set(getattr(part, "__dict__", ())) - self.attributes:
            delattr(part, name)
        part.set_state(pickle.loads(self.state))


_firsts: WeakKeyDictionary[Any, _First] = WeakKeyDictionary()


def begin(part: Any, *, resumes: bool) -> None:
    """An experiment is planned with a scheduler, searcher or stopper.

    Args:
        part: As the user gave it; anything without `get_state` is passed over.
        resumes: True takes it back to the state in which it began, if it began here; False
            remembers the state it is in.
    """
    for member in getattr(part, "stoppers", (part,)):
        if not hasattr(member, "get_state") or isinstance(member, type):
            continue
        try:
            first = _firsts.get(member)
            if resumes and first is not None:
                first.give_back(member)
            else:
                _firsts[member] = _First(member)
        except Exception as error:
            # Whatever a part of the user's raises, or a TypeError for objects without a hash; it
            # matters only in the case named above.
            _logger.debug("The state of %r cannot be kept: %s", member, error)


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
