"""Pickles a trainable on the driver and unpickles it in trial processes."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import logging
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle

from prefect_tune.error import InvalidTrainable
from prefect_tune.trainable.function import trainable_name, without_partials
from prefect_tune.trainable.shipping.large_data import DataFile, DataParts
from prefect_tune.trainable.shipping.local_modules import (
    ModuleSource,
    local_modules,
    register_modules,
)

_MAIN = "__main__"
_logger = logging.getLogger("prefect_tune")
#: Objects with at least so many bytes are sent separately from the pickle.
_LARGE = 4 << 20
#: A function that uses a variable with at least so many bytes is warned about.
_WARN_BYTES = 10 << 20


@dataclass(frozen=True, slots=True)
class TrainableSource:
    """Pickled trainable with everything that a node needs to load it.

    Attributes:
        name: Name of the trainable, for messages.
        pickled: cloudpickle of the callable (or class), without the objects in `data`.
        module: Module of the trainable, for error messages.
        sys_path: The driver's import path, which nodes append to their own.
        cwd: The driver's working directory.
        argv: The driver's command line.
        data: The trainable's large objects, if any: on the driver in memory, on nodes in a
            file.
        modules: Sources of modules next to the script, for nodes that lack them.
    """

    name: str
    pickled: bytes
    module: str
    sys_path: tuple[str, ...]
    cwd: str
    argv: tuple[str, ...] = ()
    data: DataParts | DataFile | None = None
    modules: tuple[ModuleSource, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the pickle and the large objects."""
        return len(self.pickled) + (0 if self.data is None else self.data.size)


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


def register_by_value(trainable: Any) -> None:
    """Register functions and classes that came with a trainable in the modules that they name."""
    registered: set[int] = set()
    for function in _functions_of(trainable):
        for value in [*function.__globals__.values(), trainable]:
            if isinstance(value, (types.FunctionType, type)) and _is_by_value(value):
                name = value.__module__
                module = sys.modules.setdefault(name, _PlaceholderModule(name))
                setattr(module, value.__name__, value)
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
