"""Pickles of plain data, which are loaded without running anybody's code.

Loading a pickle calls whatever it names. Here only a fixed set of classes of the standard library
can be named, and arrays of numbers are written as numpy's own files, which hold no objects.
"""

from __future__ import annotations

import builtins
import importlib
import io
import pickle
from typing import Any

import cloudpickle

_CLASSES = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"OrderedDict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "pathlib": {"PosixPath", "PurePosixPath"},
    # With these, exceptions are pickled where tblib has been loaded; they call only the class.
    "tblib.pickling_support": {"unpickle_exception", "unpickle_exception_with_attrs"},
    "uuid": {"UUID"},
    "prefect_tune.space.variants": {"VariantPosition"},
    __name__: {"array_from", "scalar_from"},
}


class NotPlain(pickle.UnpicklingError):
    """A pickle refers to something that is not plain data."""


def load_plain(data: bytes) -> Any:
    """Load a pickle that anybody may have written.

    Raises:
        NotPlain: If it refers to anything but plain data.
        Exception: What damaged pickles raise.
    """
    return _PlainUnpickler(io.BytesIO(data)).load()


def is_plain(data: bytes) -> bool:
    """True if `load_plain` can load a pickle."""
    try:
        load_plain(data)
    except Exception:
        # Damaged pickles raise anything.
        return False
    return True


def dump(value: Any) -> bytes:
    """Pickle a value, as plain data where that is possible.

    Raises:
        Exception: Whatever objects in it raise that cannot be pickled.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()


def array_from(data: bytes) -> Any:
    """The numpy array in the text of an ``.npy`` file."""
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def scalar_from(data: bytes) -> Any:
    """The numpy scalar that `dump` has written as an array without dimensions."""
    return array_from(data)[()]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__module__ == "numpy" and (form := _as_file(obj)) is not None:
            return form
        return super().reducer_override(obj)


def _as_file(value: Any) -> tuple[Any, tuple[bytes]] | None:
    """How an array or a scalar of numbers or texts is written; None for everything else."""
    import numpy as np

    is_scalar = isinstance(value, np.generic)
    if not is_scalar and type(value) is not np.ndarray:
        return None
    if value.dtype.hasobject or value.dtype.metadata:
        return None
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return (scalar_from if is_scalar else array_from), (file.getvalue(),)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _CLASSES.get(module, ()):
            return getattr(importlib.import_module(module), name)
        if module == "builtins":
            found = getattr(builtins, name, None)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        raise NotPlain(f"it refers to {module}.{name}")
