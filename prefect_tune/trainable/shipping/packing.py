"""Pickles a trainable on the driver and unpickles it in trial processes."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from prefect_tune.error import InvalidTrainable
from prefect_tune.trainable.by_value import register_by_value
from prefect_tune.trainable.function import trainable_name, without_partials
from prefect_tune.trainable.shipping.large_data import DataParts
from prefect_tune.trainable.shipping.local_modules import local_modules, register_modules
from prefect_tune.trainable.shipping.source import TrainableSource

_logger = logging.getLogger("prefect_tune")
#: Objects with at least so many bytes are sent separately from the pickle.
_LARGE = 4 << 20
#: A function that uses a variable with at least so many bytes is warned about.
_WARN_BYTES = 10 << 20


def pack_trainable(trainable: object, name: str | None = None) -> TrainableSource:
    """Pickle a trainable, with what a node needs to import its modules.

    Code of the main script or notebook is pickled by value, code of modules by name; the source
    of modules next to the script is included, see `local_modules`.

    Args:
        trainable: A function, partial or callable object.
        name: Name for messages; by default that of the function or class.

    Raises:
        InvalidTrainable: If it cannot be pickled; the message names the parts that cannot.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        pickled = cloudpickle.dumps(trainable, buffer_callback=_separate_large(buffers))
    except Exception as error:
        parts = unpicklable_parts(trainable)
        culprits = ", ".join(f"{where} ({type(part).__name__})" for where, _, part in parts) or "it"
        raise InvalidTrainable(
            "trainable",
            f"{trainable_name(trainable)} cannot be sent to a trial process: {culprits} cannot be "
            f"pickled ({type(error).__name__}: {error}).",
            "Create such objects (locks, connections, open files, ...) inside the function.",
        ) from error
    cwd = os.getcwd()
    data = None
    if buffers or len(pickled) > _LARGE:
        data = DataParts([pickled, *(buffer.raw() for buffer in buffers)])
        pickled = b""
        _warn_of_large(trainable, data.size)
    return TrainableSource(
        name=name or trainable_name(trainable),
        pickled=pickled,
        module=_module_of(trainable),
        sys_path=tuple(os.path.abspath(path) if path else cwd for path in sys.path),
        cwd=cwd,
        argv=tuple(sys.argv),
        data=data,
        modules=local_modules(),
    )


def load_trainable(source: TrainableSource, for_forks: bool = False) -> Any:
    """Unpickle a trainable, after adding the driver's import path and modules to this process.

    Args:
        source: The pickled trainable.
        for_forks: True if forks of this process will share the large objects.

    Raises:
        Exception: If importing a module or unpickling raises.
    """
    known = set(sys.path)
    sys.path += [path for path in source.sys_path if path not in known]
    register_modules(source.modules)
    if source.data is None:
        return cloudpickle.loads(source.pickled)
    pickled, *buffers = source.data.views(own=for_forks)
    return cloudpickle.loads(pickled, buffers=buffers)


def load_for_trials(source: TrainableSource, for_forks: bool = False) -> Any:
    """Unpickle a trainable in a trial process, with `sys.argv` and modules as on the driver."""
    if source.argv:
        sys.argv[:] = source.argv
    trainable = load_trainable(source, for_forks)
    register_by_value(trainable)
    return trainable


def self_contained(source: TrainableSource) -> bytes:
    """Return the trainable as one pickle, including its large objects."""
    if source.data is None:
        return source.pickled
    pickled: bytes = cloudpickle.dumps(load_trainable(source))
    return pickled


def _separate_large(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a `buffer_callback` that moves large contiguous buffers out of a pickle."""

    def keep_in_pickle(buffer: pickle.PickleBuffer) -> bool:
        with memoryview(buffer) as view:
            small = view.nbytes < _LARGE or not view.contiguous
        if not small:
            buffers.append(buffer)
        return small  # True keeps the buffer in the pickle

    return keep_in_pickle


def _warn_of_large(trainable: object, size: int) -> None:
    """Warn of large variables that a function refers to, perhaps by mistake."""
    function = without_partials(trainable)
    if not inspect.isfunction(function):
        return
    large = [
        f"{what} ({nbytes >> 20} MB)"
        for what, _, part in _named_parts(function)
        if (nbytes := _bytes_of(part)) >= _WARN_BYTES
    ]
    if large:
        _logger.warning(
            "%s refers to %d MB of data, which is sent once to each node: %s. If intended, use "
            "`tune.with_parameters(%s, data=...)`.",
            trainable_name(trainable),
            size >> 20,
            ", ".join(large),
            trainable_name(trainable),
        )


def _bytes_of(part: object) -> int:
    nbytes = getattr(part, "nbytes", None)
    return nbytes if isinstance(nbytes, int) else sys.getsizeof(part, 0)


def _module_of(trainable: object) -> str:
    trainable = without_partials(trainable)
    return str(getattr(trainable, "__module__", None) or type(trainable).__module__)


def unpicklable_parts(trainable: object) -> list[tuple[str, str, object]]:
    """Return the parts of a trainable that cannot be pickled: description, name and object."""
    return [part for part in _named_parts(trainable) if _is_unpicklable(part[-1])]


def _named_parts(trainable: object) -> Iterator[tuple[str, str, object]]:
    if isinstance(trainable, functools.partial):
        for position, argument in enumerate(trainable.args):
            yield f"its argument {position}", str(position), argument
        for keyword, argument in trainable.keywords.items():
            yield f"its argument `{keyword}`", keyword, argument
        yield from _named_parts(trainable.func)
    elif inspect.ismethod(trainable):
        yield "the object it is a method of", "self", trainable.__self__
    elif inspect.isfunction(trainable):
        used = inspect.getclosurevars(trainable)
        for kind, variables in (("outer", used.nonlocals), ("global", used.globals)):
            for variable, value in variables.items():
                yield f"the {kind} variable `{variable}`", variable, value
    else:
        for attribute, value in getattr(trainable, "__dict__", {}).items():
            yield f"its attribute `{attribute}`", attribute, value


def _is_unpicklable(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return True
    return False
