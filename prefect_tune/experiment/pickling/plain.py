"""Pickles of plain data, which can be loaded without running foreign code.

Loading a pickle calls the functions and classes that it names. Plain data names only a fixed set of
classes of the standard library, and holds arrays of numbers as numpy files without objects.
"""

from __future__ import annotations

import builtins
import importlib
import io
import pickle
from typing import Any

import cloudpickle
from typing_extensions import override

from prefect_tune.experiment.pickling.large import LARGE, LargeValues, is_large_data

_CLASSES = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"OrderedDict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "pathlib": {"PosixPath", "PurePosixPath"},
    "pathlib._local": {"PosixPath", "PurePosixPath"},  # their module in Python 3.13
    # tblib, where it is loaded, pickles exceptions with these functions, which only call the class.
    "tblib.pickling_support": {"unpickle_exception", "unpickle_exception_with_attrs"},
    "uuid": {"UUID"},
    "prefect_tune.space.variants": {"VariantPosition"},
    __name__: {"array_from", "scalar_from"},
}


class NotPlain(pickle.UnpicklingError):
    """Raised if a pickle refers to something that is not plain data."""


def load_plain(data: bytes, large: LargeValues | None = None) -> Any:
    """Load a pickle of plain data; safe whoever has written it.

    Args:
        data: The pickle.
        large: Has the large values of the pickle.

    Raises:
        NotPlain: If the pickle refers to anything but plain data.
        Exception: What damaged pickles raise.
    """
    return _PlainUnpickler(data, large).load()


def load_all(data: bytes, large: LargeValues | None = None) -> Any:
    """Load any pickle, which may run any code.

    Args:
        data: The pickle; must be known to be the user's own.
        large: Has the large values of the pickle.

    Raises:
        Exception: What unpickling raises.
    """
    return Unpickler(data, large).load()


def is_plain(data: bytes) -> bool:
    """Return True if `load_plain` can load a pickle."""
    try:
        load_plain(data)
    except Exception:
        # A damaged pickle may raise anything.
        return False
    return True


def dump(value: Any, large: LargeValues | None = None) -> bytes:
    """Pickle a value, as plain data where that is possible.

    Args:
        value: The value.
        large: Stores large values in files of their own; None leaves them in the pickle.

    Raises:
        Exception: What objects in the value raise that cannot be pickled.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer) if large is None else _LargeValuePickler(buffer, large)
    pickler.dump(value)
    return buffer.getvalue()


def kept_array(name: str) -> Any:
    """Stand for a stored array in a pickle; the unpicklers here put the array in its place.

    Raises:
        RuntimeError: If the pickle is loaded by other means.
    """
    raise RuntimeError(f"{name} is a large value of an experiment, for its journal only")


def array_reference(value: Any, large: LargeValues | None) -> tuple[Any, ...] | None:
    """Store a large array of numbers and return a reduce value for it; None for other values."""
    if large is None or not _is_array(value) or value.nbytes < LARGE or value.ndim == 0:
        return None
    return kept_array, (large.store_array(value),)


def data_reference(value: Any, large: LargeValues | None) -> str | None:
    """Store large plain data and return a persistent id for it; None for other values."""
    if large is None or not is_large_data(value):
        return None
    return large.store_data(dump(value))


def is_array_reference(module: str, name: str) -> bool:
    """Return True for the function by which a pickle refers to a stored array."""
    return (module, name) == (__name__, kept_array.__name__)


def array_from(data: bytes) -> Any:
    """Return the numpy array in the content of an ``.npy`` file."""
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def scalar_from(data: bytes) -> Any:
    """Return the numpy scalar that `dump` has written as an array without dimensions."""
    return array_from(data)[()]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, buffer: io.BytesIO, large: LargeValues | None = None) -> None:
        super().__init__(buffer, protocol=5)
        self._large = large

    def reducer_override(self, obj: Any) -> Any:
        """Pickle an array of NumPy as a reference to where it is kept, or as a file of NumPy."""
        if type(obj).__module__ == "numpy":
            form = array_reference(obj, self._large) or _as_file(obj)
            if form is not None:
                return form
        return super().reducer_override(obj)


class _LargeValuePickler(_Pickler):
    def persistent_id(self, obj: Any) -> str | None:
        return data_reference(obj, self._large)


def _is_array(value: Any) -> bool:
    import numpy as np

    if type(value) is not np.ndarray:
        return False
    return not (value.dtype.hasobject or value.dtype.metadata)


def _as_file(value: Any) -> tuple[Any, tuple[bytes]] | None:
    """Return a reduce value with an array or scalar as ``.npy`` file; None for other values."""
    import numpy as np

    is_scalar = isinstance(value, np.generic)
    if not (_is_array(value) or (is_scalar and not value.dtype.hasobject)):
        return None
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return (scalar_from if is_scalar else array_from), (file.getvalue(),)


class Unpickler(pickle.Unpickler):
    """Unpickler that finds large values in the files in which they were stored."""

    def __init__(self, data: bytes, large: LargeValues | None) -> None:
        super().__init__(io.BytesIO(data))
        self._large = large

    @override
    def find_class(self, module: str, name: str) -> Any:
        if is_array_reference(module, name) and self._large is not None:
            return self._large.array
        return super().find_class(module, name)

    @override
    def persistent_load(self, name: Any) -> Any:
        if self._large is None:
            raise pickle.UnpicklingError(f"its large value {name!r} is elsewhere")
        return load_plain(self._large.data(name))


class _PlainUnpickler(Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if is_array_reference(module, name) and self._large is not None:
            return self._large.array
        if name in _CLASSES.get(module, ()):
            return getattr(importlib.import_module(module), name)
        if module == "builtins":
            found = getattr(builtins, name, None)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        raise NotPlain(f"it refers to {module}.{name}")
