"""Every other file system that fsspec knows."""

from __future__ import annotations

import posixpath
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefect_tune.filesystem.backend import Entry, Part, Upload
from prefect_tune.filesystem.connect import connect, protocol_of
from prefect_tune.filesystem.failures import TruncatedTransfer, UnfinishedRename
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.names import is_temporary, temporary_name
from prefect_tune.filesystem.providers import ARROW_PROTOCOLS, AZURE_PROTOCOLS, GOOGLE_PROTOCOLS

T = TypeVar("T")

#: On these a file appears, whole, when it has been written; and there are no directories to make.
OBJECT_STORES = (*GOOGLE_PROTOCOLS, *AZURE_PROTOCOLS, "adl", "oss", "oci", "tos")


class FsspecBackend:
    """The `Backend` of every other file system that fsspec knows.

    Args:
        location: Where.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        protocol = protocol_of(location)
        self.is_object_store = protocol in OBJECT_STORES
        # pyarrow opens what is read from its beginning as a stream, and fsspec seeks to 0 in it.
        self._seekable: dict[str, Any] = {"seekable": True} if protocol in ARROW_PROTOCOLS else {}
        # adlfs refuses to replace a blob unless told.
        self._replace: dict[str, Any] = {"overwrite": True} if protocol in AZURE_PROTOCOLS else {}

    def read(self, path: str, timeout: float) -> bytes:
        data: bytes = self._do("cat_file", path, timeout=timeout)
        return data

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Read bytes of a file; the version is not looked at."""
        data: bytes = self._do(
            "cat_file", path, start=start, end=end, timeout=timeout, **self._seekable
        )
        if len(data) != end - start:
            raise TruncatedTransfer(f"{len(data)} bytes of {end - start} arrived")
        return data

    def write(self, path: str, data: bytes, timeout: float) -> None:
        if self.is_object_store:
            self._do("pipe_file", path, data, timeout=timeout, **self._replace)
            return
        temporary = self._temporary(path, timeout)
        self._do("pipe_file", temporary, data, timeout=timeout)
        self.move(temporary, path, timeout)

    def stat(self, path: str, timeout: float) -> Entry:
        info = self._do("info", path, timeout=timeout)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Entry(info["size"])

    def list(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """List all files below a path on one page."""
        _, base = connect(self._location)
        found = self._do("find", path, detail=True, timeout=timeout)
        if not isinstance(found, dict):
            return {}, ""  # some say so that it is a file
        entries = {}
        for name, info in found.items():
            relative = posixpath.relpath(name, base)
            if info["type"] != "file" or name.endswith("/") or relative == path:
                continue
            if not is_temporary(relative):
                entries[relative] = Entry(info["size"])
        return entries, ""

    def delete(self, path: str, timeout: float) -> None:
        self._do("rm_file", path, timeout=timeout)

    def remove_directories(self, path: str, timeout: float) -> None:
        if self.is_object_store:
            return
        try:
            self._do("rm", path, recursive=True, timeout=timeout)
        except FileNotFoundError:
            return

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        target = path if self.is_object_store else self._temporary(path, timeout)

        def send(timeout: float) -> None:
            self._do("put_file", target, source=str(local), timeout=timeout, **self._replace)

        return _FileUpload(self, Part(size, send), target, path)

    def move(self, source: str, target: str, timeout: float) -> None:
        """Give a file its final name; one that has it already is replaced. May be repeated."""
        fs, base = connect(self._location)
        old, new = posixpath.join(base, source), posixpath.join(base, target)

        def replace() -> None:
            if fs.exists(new):
                # A try before may have done it though nobody heard of it: then the file that has
                # the name is the one that shall have it.
                if not fs.exists(old):
                    return
                fs.rm_file(new)
            fs.mv(old, new)
            if fs.exists(old):
                # Some do not say so, as when somebody else was faster.
                raise UnfinishedRename(f"{old} still has its name")

        within(timeout, replace)

    def _temporary(self, path: str, timeout: float) -> str:
        """A name beside a file; its directory exists then."""
        parent, name = posixpath.split(path)
        self._do("makedirs", parent, exist_ok=True, timeout=timeout)
        return posixpath.join(parent, temporary_name(name))

    def _do(
        self, method: str, path: str, *arguments: Any, timeout: float, source: str = "", **more: Any
    ) -> Any:
        fs, base = connect(self._location)
        full = posixpath.join(base, path) if path else base
        places = (source, full) if source else (full,)
        call = getattr(fs, method)
        if fs.async_impl:
            return call(*places, *arguments, timeout=timeout, **more)
        return within(timeout, lambda: call(*places, *arguments, **more))


class _FileUpload:
    """A file that the file system's own `put_file` sends."""

    def __init__(self, backend: FsspecBackend, part: Part, target: str, path: str) -> None:
        self._backend = backend
        self._target = target
        self._path = path
        self.parts: Sequence[Part] = [part]

    def finish(self, timeout: float) -> None:
        if self._target != self._path:
            self._backend.move(self._target, self._path, timeout)

    def abort(self, timeout: float) -> None:
        if self._target != self._path:
            self._backend.delete(self._target, timeout)


def within(timeout: float, call: Callable[[], T]) -> T:
    """Make a blocking call that knows no time limit.

    One that takes too long is left alone in its thread, which does not keep the process alive.

    Raises:
        TimeoutError: If it takes longer.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name=f"storage-{uuid.uuid4().hex[:6]}", daemon=True)
    thread.start()
    thread.join(timeout)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError(f"no answer within {timeout:.0f} s")
    return outcome[0]
