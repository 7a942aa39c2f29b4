"""Registers functions and classes that were pickled by value under their module's name.

A function of the main script or of a flow's file is pickled by value, because a trial process does
not have that module. Some user code, such as a `multiprocessing.Pool`, pickles it again by
reference, which needs the module.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle

from prefect_tune.trainable.function import without_partials

_MAIN = "__main__"


def register_by_value(trainable: Any) -> None:
    """Register functions and classes that came with a trainable in the modules that they name."""
    registered: set[int] = set()
    for function in _functions_of(trainable):
        for value in [*function.__globals__.values(), trainable]:
            if isinstance(value, (types.FunctionType, type)) and _is_by_value(value):
                setattr(_module(value.__module__), value.__name__, value)
                registered.add(id(value))
    if registered:
        _pickle_by_value(registered)


def _functions_of(trainable: Any) -> Iterator[types.FunctionType]:
    trainable = without_partials(trainable)
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
    """Return True if a value is not what its module contains under its name."""
    if value.__qualname__ != value.__name__ or not value.__module__:
        return False
    module = sys.modules.get(value.__module__)
    if module is None:
        return "." not in value.__module__ and not _is_importable(value.__module__)
    if value.__module__ == _MAIN:
        return getattr(module, value.__name__, None) is not value
    return isinstance(module, _PlaceholderModule) and not hasattr(module, value.__name__)


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


class _PlaceholderModule(types.ModuleType):
    """Placeholder for a missing module, with the functions and classes that came by value."""


def _module(name: str) -> types.ModuleType:
    return sys.modules.setdefault(name, _PlaceholderModule(name))


def _pickle_by_value(registered: set[int]) -> None:
    """Let `multiprocessing` pickle the objects with these ids by value.

    Its processes that are not forks do not have the placeholder modules.
    """
    from multiprocessing.reduction import ForkingPickler

    def reducer_override(_: object, value: object) -> Any:
        if id(value) in registered:
            return cloudpickle.loads, (cloudpickle.dumps(value),)
        return NotImplemented

    # Unlike the reducers of `register`, this method is also called for functions and classes.
    ForkingPickler.reducer_override = reducer_override  # type: ignore[method-assign]
