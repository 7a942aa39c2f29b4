"""Pickles exceptions of user code, to be sent from a trial process to the user."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle


def pickle_exception(error: BaseException) -> bytes | None:
    """Pickle an exception so that it can be loaded; None if that is impossible.

    To load an exception, Python calls its class with its `args`: this fails if `__init__` has other
    parameters; and objects that an exception refers to (a lock, a connection) may not be
    picklable. Such an exception is rebuilt without calling `__init__`, and without the objects
    that cannot be pickled.
    """
    for is_rebuilt, form in _picklable_forms(error):
        try:
            pickled: bytes = cloudpickle.dumps(form)
            loaded = pickle.loads(pickled)
            # A class that composes its message would compose it anew from the message.
            if is_rebuilt or (repr(loaded) == repr(error) and str(loaded) == str(error)):
                return pickled
        except Exception:  # objects of users' classes may raise anything
            continue
    return None


def _picklable_forms(error: BaseException) -> Iterator[tuple[bool, object]]:
    """Yield forms of an exception to pickle, and True if loading one skips `__init__`."""
    yield False, error
    # Python's default form, because Dask registers one without `__init__` for all exceptions.
    yield False, _ReducedCall(type(error), error.args, error.__dict__ or None)
    arguments = tuple(arg if _is_picklable(arg) else repr(arg) for arg in error.args)
    state = {name: value for name, value in error.__dict__.items() if _is_picklable(value)}
    yield True, _ReducedCall(rebuild, (type(error), arguments, state))


class _ReducedCall:
    """Object that is pickled as a given call, see `object.__reduce__`."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def rebuild(cls: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """Create an exception of a class without calling its `__init__`."""
    error = cls.__new__(cls, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


def _is_picklable(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:
        return False
    return True
