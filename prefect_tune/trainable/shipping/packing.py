"""The trainable on its way from the driver to the nodes."""

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
from prefect_tune.trainable.by_name import make_known
from prefect_tune.trainable.function import trainable_name, without_partials
from prefect_tune.trainable.shipping.large_data import DataParts
from prefect_tune.trainable.shipping.local_modules import local_modules, provide
from prefect_tune.trainable.shipping.source import TrainableSource

_logger = logging.getLogger("prefect_tune")
#: Bytes from which on an object goes its own way.
_LARGE = 4 << 20
#: Bytes of a variable from which on a function that uses it is worth a word.
_WORTH_A_WORD = 10 << 20


def pack_trainable(trainable: object, name: str | None = None) -> TrainableSource:
    """Pickle a trainable, with what a node needs to import its modules.

    Code of the main script or notebook travels by value, code of modules by reference; the source
    of modules beside the script goes along, see `local_modules`.

    Args:
        trainable: A function, partial or callable object.
        name: Its name for people; by default its own.

    Raises:
        InvalidTrainable: If it cannot be pickled; names what in it cannot.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        pickled = cloudpickle.dumps(trainable, buffer_callback=_collector(buffers))
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
    """Unpickle a trainable, which imports its modules; extends this process's import path.

    Args:
        source: The trainable.
        for_forks: Whether its large objects are for the forks of this process.

    Raises:
        Exception: Whatever the import or the unpickling raises.
    """
    known = set(sys.path)
    sys.path += [path for path in source.sys_path if path not in known]
    provide(source.modules)
    if source.data is None:
        return cloudpickle.loads(source.pickled)
    pickled, *buffers = source.data.views(own=for_forks)
    return cloudpickle.loads(pickled, buffers=buffers)


def load_for_trials(source: TrainableSource, for_forks: bool = False) -> Any:
    """`load_trainable` in a process that belongs to trials; what it has is as in the driver."""
    if source.argv:
        sys.argv[:] = source.argv
    trainable = load_trainable(source, for_forks)
    make_known(trainable)
    return trainable


def self_contained(source: TrainableSource) -> bytes:
    """The trainable as one pickle, its large objects included."""
    if source.data is None:
        return source.pickled
    pickled: bytes = cloudpickle.dumps(load_trainable(source))
    return pickled


def _collector(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Takes large contiguous buffers out of a pickle."""

    def take(buffer: pickle.PickleBuffer) -> bool:
        with memoryview(buffer) as view:
            small = view.nbytes < _LARGE or not view.contiguous
        if not small:
            buffers.append(buffer)
        return small  # True leaves it in

    return take


def _warn_of_large(trainable: object, size: int) -> None:
    """Say which variables a function carries along, which may not be meant."""
    function = without_partials(trainable)
    if not inspect.isfunction(function):
        return
    large = [
        f"{what} ({nbytes >> 20} MB)"
        for what, _, part in _parts(function)
        if (nbytes := _bytes_of(part)) >= _WORTH_A_WORD
    ]
    if large:
        _logger.warning(
            "%s carries %d MB along, once for each node: %s. If that is meant, say so: "
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
    """What keeps a trainable from being pickled: where it is, its name, and what it is."""
    return [part for part in _parts(trainable) if _fails(part[-1])]


def _parts(trainable: object) -> Iterator[tuple[str, str, object]]:
    if isinstance(trainable, functools.partial):
        for position, argument in enumerate(trainable.args):
            yield f"its argument {position}", str(position), argument
        for keyword, argument in trainable.keywords.items():
            yield f"its argument `{keyword}`", keyword, argument
        yield from _parts(trainable.func)
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


def _fails(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return True
    return False
