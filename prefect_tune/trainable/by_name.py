"""Makes what came by value known by its name, for those who pickle it by name again.

A function of the main script or of a flow's file travels by value: a trial process has no such
module. Parts of user code pickle in the plain way, e.g. a `multiprocessing.Pool` its function, and
look for it where its module would be.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle

_MAIN = "__main__"


def make_known(trainable: Any) -> None:
    """Put functions and classes that came with a trainable where their names say they are."""
    known: set[int] = set()
    for function in _functions_of(trainable):
        for value in [*function.__globals__.values(), trainable]:
            if isinstance(value, (types.FunctionType, type)) and _is_by_value(value):
                setattr(_module(value.__module__), value.__name__, value)
                known.add(id(value))
    if known:
        _send_by_value(known)


def _functions_of(trainable: Any) -> Iterator[types.FunctionType]:
    while isinstance(trainable, functools.partial):
        trainable = trainable.func
    if isinstance(trainable, (staticmethod, classmethod)):
        trainable = trainable.__func__
    if inspect.isfunction(trainable):
        yield trainable
    elif inspect.ismethod(trainable):
        yield from _functions_of(trainable.__func__)
    else:
        cls = trainable if inspect.isclass(trainable) else type(trainable)
        for base in cls.__mro__:
            yield from filter(inspect.isfunction, vars(base).values())


def _is_by_value(value: Any) -> bool:
    """Whether it is not what its module has by its name."""
    if value.__qualname__ != value.__name__ or not value.__module__:
        return False
    module = sys.modules.get(value.__module__)
    if module is None:
        return "." not in value.__module__ and not _is_importable(value.__module__)
    if value.__module__ == _MAIN:
        return getattr(module, value.__name__, None) is not value
    return isinstance(module, _StandIn) and not hasattr(module, value.__name__)


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class _StandIn(types.ModuleType):
    """A module that is not here, with those of its functions and classes that are."""


def _module(name: str) -> types.ModuleType:
    return sys.modules.setdefault(name, _StandIn(name))


def _send_by_value(known: set[int]) -> None:
    """Have `multiprocessing` send these to its processes by value.

    Those that are not forks have no such module either.
    """
    from multiprocessing.reduction import ForkingPickler

    def reducer_override(_: object, value: object) -> Any:
        if id(value) in known:
            return cloudpickle.loads, (cloudpickle.dumps(value),)
        return NotImplemented

    # Unlike its `register`, this is asked about functions and classes, too.
    ForkingPickler.reducer_override = reducer_override  # type: ignore[method-assign]
