"""Large values of configurations: each is stored once, in a file named by a digest of its content.

A configuration is in the journal and in several files of each trial. A large array in it would be
written as often; so it is written once into the experiment directory, and referred to by name.
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
from prefect_tune.error import StorageError, storage_errors

#: Bytes from which on a value is large.
LARGE = 64 * 1024
DIRECTORY = "large_values"
_SCALARS = frozenset({str, bytes, int, float, bool, complex, type(None)})
_ITEM = 8  # bytes of a reference, the least that an item of a list takes


def size_of(value: Any) -> int:
    """Estimate the size of a value in bytes; 0 if that would need a look at each item."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple):
        below = (size_of(item) for item in value if isinstance(item, list | tuple))
        return _ITEM * len(value) + sum(below)
    if isinstance(value, set | frozenset | dict):
        return _ITEM * len(value)
    try:
        nbytes = getattr(value, "nbytes", 0)
    except Exception:  # a user's class may raise anything
        return 0
    return nbytes if isinstance(nbytes, int) else 0


def is_large_data(value: Any) -> bool:
    """Return True for a large string, or a large list that holds only scalars and such lists."""
    kind = type(value)
    if kind not in (str, bytes, list, tuple) or size_of(value) < LARGE:
        return False
    return kind in (str, bytes) or _has_only_scalars(value)


def _has_only_scalars(value: list[Any] | tuple[Any, ...]) -> bool:
    return all(
        type(item) in _SCALARS or (type(item) in (list, tuple) and _has_only_scalars(item))
        for item in value
    )


def shortened(value: Any) -> Any:
    """Return a configuration with large values replaced by short descriptions, for display.

    Without large values the same object is returned.
    """
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
    """Stores the large values of one experiment, each in a file.

    Args:
        directory: The experiment directory.
        copy: Called with the relative path and the content of each new file, to upload it before
            anything refers to it.

    Attributes:
        has_data: Whether any stored value is not an array.
    """

    def __init__(
        self, directory: str | os.PathLike[str], copy: Callable[[str, bytes], None] | None = None
    ) -> None:
        self._directory = Path(directory)
        self._copy = copy
        self.has_data = False
        self._arrays: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def store_array(self, array: Any) -> str:
        """Store a numpy array without objects, and return the name by which `array` finds it.

        Raises:
            StorageError: If the file cannot be written.
        """
        import numpy as np

        name = f"{_digest_of(array)}.npy"
        if not self._path(name).exists():
            file = io.BytesIO()
            np.save(file, array, allow_pickle=False)
            self._write(name, file.getvalue())
        return name

    def array(self, name: str) -> Any:
        """Return the stored array with the given name; the same object while it is in use.

        Raises:
            StorageError: If the file is missing or damaged.
        """
        import numpy as np

        array = self._arrays.get(name)
        if array is None:
            try:
                array = np.load(self._path(name), allow_pickle=False)
            except (OSError, ValueError) as error:
                raise _unreadable(self._path(name), error) from error
            if f"{_digest_of(array)}.npy" != name:
                raise _unreadable(self._path(name), "it is damaged")
            self._arrays[name] = array
        return array

    def store_data(self, data: bytes) -> str:
        """Store a pickle, and return the name by which `data` finds it.

        Raises:
            StorageError: If the file cannot be written.
        """
        self.has_data = True
        name = f"{hashlib.sha256(data).hexdigest()}.pkl"
        if not self._path(name).exists():
            self._write(name, data)
        return name

    def data(self, name: str) -> bytes:
        """Return the stored pickle with the given name.

        Raises:
            StorageError: If the file is missing or damaged.
        """
        self.has_data = True
        try:
            data = self._path(name).read_bytes()
        except OSError as error:
            raise _unreadable(self._path(name), error) from error
        if f"{hashlib.sha256(data).hexdigest()}.pkl" != name:
            raise _unreadable(self._path(name), "it is damaged")
        return data

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise pickle.UnpicklingError(f"{name!r} is not the name of a large value")
        return self._directory / DIRECTORY / name

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with storage_errors(f"write {path}"):
            if self._copy is not None:
                self._copy(f"{DIRECTORY}/{name}", data)
            write_atomic(path, data)


def _digest_of(array: Any) -> str:
    import numpy as np

    digest = hashlib.sha256(repr((array.dtype.descr, array.shape)).encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _unreadable(path: Path, problem: object) -> StorageError:
    return StorageError(
        f"a large value of the configurations cannot be read from {path}: {problem}"
    )
