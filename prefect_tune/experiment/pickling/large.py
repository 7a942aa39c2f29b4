"""Large values of configurations: kept once by what is in them, and shown by what they are.

A configuration is journalled for each trial, and shown in several files. An array in it would be
there as often; so its bytes go into a file of the experiment that is named after them.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import StorageError

#: Bytes from which on a value is large.
LARGE = 64 * 1024
DIRECTORY = "large_values"
_SCALARS = frozenset({str, bytes, int, float, bool, complex, type(None)})
_ITEM = 8  # bytes of an item of a list, at least


def size_of(value: Any) -> int:
    """About how many bytes a value has; 0 if that cannot be told without looking into it."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple):
        below = (size_of(item) for item in value if isinstance(item, list | tuple))
        return _ITEM * len(value) + sum(below)
    if isinstance(value, set | frozenset | dict):
        return _ITEM * len(value)
    try:
        nbytes = getattr(value, "nbytes", 0)
    except Exception:  # whatever a user's class raises
        return 0
    return nbytes if isinstance(nbytes, int) else 0


def is_large_data(value: Any) -> bool:
    """True for a large text, or a large list of nothing but numbers, texts and such lists."""
    kind = type(value)
    if kind not in (str, bytes, list, tuple) or size_of(value) < LARGE:
        return False
    return kind in (str, bytes) or _is_of_scalars(value)


def _is_of_scalars(value: list[Any] | tuple[Any, ...]) -> bool:
    return all(
        type(item) in _SCALARS or (type(item) in (list, tuple) and _is_of_scalars(item))
        for item in value
    )


def shortened(value: Any) -> Any:
    """A configuration for people: large values in words. Without any it is the same object."""
    if isinstance(value, Mapping):
        items = {key: _shown(item) for key, item in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if type(value) in (list, tuple):
        shown = [_shown(item) for item in value]
        changed = any(new is not old for new, old in zip(shown, value, strict=True))
        return type(value)(shown) if changed else value
    return value


def _shown(value: Any) -> Any:
    size = size_of(value)
    if size < LARGE:
        return shortened(value)
    kind, shape = type(value).__name__, getattr(value, "shape", None)
    if shape is None:
        return f"<{kind} of {len(value)}>" if hasattr(value, "__len__") else f"<{kind}>"
    return f"<{kind} {getattr(value, 'dtype', '')} {tuple(shape)}, {size / 2**20:.1f} MiB>"


class LargeValues:
    """The large values of one experiment, each in a file.

    Args:
        directory: The experiment directory.
        copy: Called with the relative path of a new file and what is in it, to bring it to where
            the experiment is kept before anything refers to it.

    Attributes:
        has_data: Whether there are others than arrays among them.
    """

    def __init__(
        self, directory: str | os.PathLike[str], copy: Callable[[str, bytes], None] | None = None
    ) -> None:
        self._directory = Path(directory)
        self._copy = copy
        self.has_data = False
        self._arrays: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def store_array(self, array: Any) -> str:
        """Keep a numpy array without objects; returns what `array` finds it by.

        Raises:
            StorageError: If it cannot be written.
        """
        import numpy as np

        name = f"{_digest_of(array)}.npy"
        if not self._path(name).exists():
            file = io.BytesIO()
            np.save(file, array, allow_pickle=False)
            self._write(name, file.getvalue())
        return name

    def array(self, name: str) -> Any:
        """An array that was kept; the same object for all who hold it.

        Raises:
            StorageError: If it is missing or damaged.
        """
        import numpy as np

        array = self._arrays.get(name)
        if array is None:
            try:
                array = np.load(self._path(name), allow_pickle=False)
            except (OSError, ValueError) as error:
                raise _lost(self._path(name), error) from error
            if f"{_digest_of(array)}.npy" != name:
                raise _lost(self._path(name), "it is damaged")
            self._arrays[name] = array
        return array

    def store_data(self, data: bytes) -> str:
        """Keep a pickle; returns what `data` finds it by.

        Raises:
            StorageError: If it cannot be written.
        """
        self.has_data = True
        name = f"{hashlib.sha256(data).hexdigest()}.pkl"
        if not self._path(name).exists():
            self._write(name, data)
        return name

    def data(self, name: str) -> bytes:
        """A pickle that was kept, as it was.

        Raises:
            StorageError: If it is missing or damaged.
        """
        self.has_data = True
        try:
            data = self._path(name).read_bytes()
        except OSError as error:
            raise _lost(self._path(name), error) from error
        if f"{hashlib.sha256(data).hexdigest()}.pkl" != name:
            raise _lost(self._path(name), "it is damaged")
        return data

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise pickle.UnpicklingError(f"{name!r} is not the name of a large value")
        return self._directory / DIRECTORY / name

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        try:
            if self._copy is not None:
                self._copy(f"{DIRECTORY}/{name}", data)
            write_atomic(path, data)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _digest_of(array: Any) -> str:
    import numpy as np

    digest = hashlib.sha256(repr((array.dtype.descr, array.shape)).encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _lost(path: Path, problem: object) -> StorageError:
    return StorageError(
        f"a large value of the configurations cannot be read from {path}: {problem}"
    )
