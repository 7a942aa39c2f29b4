"""Exceptions of user code on their way from a trial process to its user."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle


def pickle_exception(error: BaseException) -> bytes | None:
    """The exception as a pickle that can be loaded; None if there is none.

    Python calls the class of an exception with its `args` to load it, which fails for those with
    arguments of their own; and what an exception refers to (a lock, a connection) need not be
    picklable. Such an exception is put together without calling `__init__`, and without what
    cannot travel.
    """
    # Not only the usual way: Dask registers another one, without `__init__`, for all exceptions.
    for form in (error, _Called(error), _Rebuilt(error)):
        try:
            pickled: bytes = cloudpickle.dumps(form)
            loaded = pickle.loads(pickled)
            # Made of its message, one that makes up its message says something else.
            if isinstance(form, _Rebuilt) or _says_the_same(loaded, error):
                return pickled
        except Exception:  # whatever the objects in it raise
            continue
    return None


def _says_the_same(loaded: BaseException, error: BaseException) -> bool:
    return repr(loaded) == repr(error) and str(loaded) == str(error)


class _Called:
    """Stands for an exception in a pickle, whose class is called with its arguments."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self._error), self._error.args, self._error.__dict__ or None


class _Rebuilt:
    """Stands for an exception in a pickle."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self._error
        arguments = tuple(arg if _can_travel(arg) else repr(arg) for arg in error.args)
        state = {name: value for name, value in error.__dict__.items() if _can_travel(value)}
        return rebuild, (type(error), arguments, state)


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
