"""The trainable on its way from the driver to the nodes."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

import cloudpickle

from prefect_tune.error import InvalidTrainable
from prefect_tune.trainable.function import trainable_name
from prefect_tune.trainable.source import TrainableSource


def pack_trainable(trainable: object, name: str | None = None) -> TrainableSource:
    """Pickle a trainable, with what a node needs to import its modules.

    Code of the main script or notebook travels by value, code of modules by reference.

    Args:
        trainable: A function, partial or callable object.
        name: Its name for people; by default its own.

    Raises:
        InvalidTrainable: If it cannot be pickled; names what in it cannot.
    """
    try:
        pickled = cloudpickle.dumps(trainable)
    except Exception as error:
        culprits = ", ".join(_unpicklable_parts(trainable)) or "it"
        raise InvalidTrainable(
            "trainable",
            f"{trainable_name(trainable)} cannot be sent to a trial process: {culprits} cannot be "
            f"pickled ({type(error).__name__}: {error}).",
            "Create such objects (locks, connections, open files, ...) inside the function.",
        ) from error
    cwd = os.getcwd()
    return TrainableSource(
        name=name or trainable_name(trainable),
        pickled=pickled,
        module=_module_of(trainable),
        sys_path=tuple(os.path.abspath(path) if path else cwd for path in sys.path),
        cwd=cwd,
    )


def load_trainable(source: TrainableSource) -> Any:
    """Unpickle a trainable, which imports its modules; extends this process's import path.

    Raises:
        Exception: Whatever the import or the unpickling raises.
    """
    known = set(sys.path)
    sys.path += [path for path in source.sys_path if path not in known]
    return cloudpickle.loads(source.pickled)


def _module_of(trainable: object) -> str:
    while isinstance(trainable, functools.partial):
        trainable = trainable.func
    return str(getattr(trainable, "__module__", None) or type(trainable).__module__)


def _unpicklable_parts(trainable: object) -> list[str]:
    """Names of what keeps a trainable from being pickled."""
    return [f"{what} ({type(part).__name__})" for what, part in _parts(trainable) if _fails(part)]


def _parts(trainable: object) -> Iterator[tuple[str, object]]:
    if isinstance(trainable, functools.partial):
        for position, argument in enumerate(trainable.args):
            yield f"its argument {position}", argument
        for keyword, argument in trainable.keywords.items():
            yield f"its argument `{keyword}`", argument
        yield from _parts(trainable.func)
    elif inspect.ismethod(trainable):
        yield "the object it is a method of", trainable.__self__
    elif inspect.isfunction(trainable):
        used = inspect.getclosurevars(trainable)
        for kind, variables in (("outer", used.nonlocals), ("global", used.globals)):
            for variable, value in variables.items():
                yield f"the {kind} variable `{variable}`", value
    else:
        for attribute, value in getattr(trainable, "__dict__", {}).items():
            yield f"its attribute `{attribute}`", value


def _fails(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return True
    return False
