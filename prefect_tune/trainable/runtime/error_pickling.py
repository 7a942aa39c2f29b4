"""Exceptions of user code on their way from a trial process to its user."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import cloudpickle


def pickle_exception(error: BaseException) -> bytes | None:
    """The exception as a pickle that can be loaded; None if there is none.

    Python calls the class of an exception with its `args` to load it, which fails for those with
    arguments of their own; and what an exception refers to (a lock, a connection) need not be
    picklable. Such an exception is put together without calling `__init__`, and without what
    cannot travel.
    """
    for is_rebuilt, form in _forms(error):
        try:
            pickled: bytes = cloudpickle.dumps(form)
            loaded = pickle.loads(pickled)
            # Made of its message, one that makes up its message says something else.
            if is_rebuilt or (repr(loaded) == repr(error) and str(loaded) == str(error)):
                return pickled
        except Exception:  # whatever the objects in it raise
            continue
    return None


def _forms(error: BaseException) -> Iterator[tuple[bool, object]]:
    """The exception, and what is loaded as it; with whether that is made without `__init__`."""
    yield False, error
    # Dask registers another way, without `__init__`, for all exceptions.
    yield False, _LoadedBy(type(error), error.args, error.__dict__ or None)
    arguments = tuple(arg if _can_travel(arg) else repr(arg) for arg in error.args)
    state = {name: value for name, value in error.__dict__.items() if _can_travel(value)}
    yield True, _LoadedBy(rebuild, (type(error), arguments, state))


class _LoadedBy:
    """Pickles as a call, see `object.__reduce__`."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def rebuild(cls: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """An exception of a class, made without calling its `__init__`."""
    error = cls.__new__(cls, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


def _can_travel(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:
        return False
    return True
