"""`Store` in a local directory or on a mounted file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from prefect_tune.filesystem.failures import NotFound
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Call, Retry
from prefect_tune.filesystem.store import (
    Wanted,
    check_relative,
    is_temporary,
    local_files,
    split_last,
    temporary_name,
)

T = TypeVar("T")


class LocalStore:
    """`Store` in a directory on this machine.

    Args:
        location: A local directory; created when the first file is written.
        retry: Retries requests that fail temporarily.
    """

    def __init__(self, location: Location, retry: Retry) -> None:
        self.location = location
        self._root = Path(location.path)
        self._retry = retry

    def read(self, rel: str) -> bytes | None:
        path = self._path(rel)
        try:
            return self._do("read", path, path.read_bytes)
        except NotFound:
            return None

    def write(self, rel: str, data: bytes) -> None:
        path = self._path(rel)
        # A full disk raises before the file gets its name.
        self._do("write", path, lambda: _replace(path, lambda new: new.write_bytes(data)))

    def sizes(self, rel: str = "") -> dict[str, int]:
        path = self._path(rel)
        try:
            return self._do("list", path, lambda: _sizes(path))
        except NotFound:
            return {}

    def exists(self, rel: str) -> bool:
        path = self._path(rel)
        return self._do("look for", path, path.is_file)

    def delete(self, rels: Iterable[str]) -> None:
        for rel in rels:
            path = self._path(rel)
            self._do("delete", path, lambda path=path: path.unlink(missing_ok=True))  # type: ignore[misc]

    def delete_tree(self, rel: str) -> None:
        path = self._path(rel)
        try:
            self._do("delete", path, lambda: shutil.rmtree(path))
        except NotFound:
            return

    def put_file(self, local: str | os.PathLike[str], rel: str) -> None:
        self._copy(self._retry.begin(), Path(local), self._path(rel))

    def get_file(self, rel: str, local: str | os.PathLike[str]) -> None:
        self._copy(self._retry.begin(), self._path(rel), Path(local))

    def put_tree(
        self,
        local_dir: str | os.PathLike[str],
        rel: str,
        last: Iterable[str] = (),
        names: Iterable[str] | None = None,
    ) -> None:
        source = Path(local_dir)
        call = self._retry.begin()
        if names is None:
            names = call.run("read", str(source), lambda timeout: local_files(source))
        first, at_the_end = split_last(names, last)
        for name in first + at_the_end:
            self._copy(call, source / name, self._path(rel) / name)

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        target = Path(local_dir)
        call = self._retry.begin()
        call.run("write", str(target), lambda timeout: target.mkdir(parents=True, exist_ok=True))
        for name, size in self.sizes(rel).items():
            if wanted is None or wanted(name, size):
                self._copy(call, self._path(rel) / name, target / name)

    def _copy(self, call: Call, source: Path, target: Path) -> None:
        call.run(
            f"copy {source} to",
            str(target),
            lambda timeout: _replace(target, lambda new: shutil.copyfile(source, new)),
        )

    def _do(self, doing: str, path: Path, action: Callable[[], T]) -> T:
        return self._retry.begin().run(doing, str(path), lambda timeout: action())

    def _path(self, rel: str) -> Path:
        return self._root / check_relative(rel)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    """Write a file under a temporary name and rename it when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(temporary_name(path.name))
    try:
        make(new)
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _sizes(directory: Path) -> dict[str, int]:
    sizes = {}
    for name in local_files(directory):
        if not is_temporary(name):
            try:
                sizes[name] = (directory / name).stat().st_size
            except FileNotFoundError:
                continue  # deleted meanwhile
    return sizes
