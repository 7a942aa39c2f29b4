"""Requests to any file system that fsspec knows, except for S3."""

from __future__ import annotations

import posixpath
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prefect_tune.filesystem.backend import Entry, Part, Upload
from prefect_tune.filesystem.connect import connect, protocol_of
from prefect_tune.filesystem.failures import UnfinishedRename
from prefect_tune.filesystem.location import Location, is_temporary, temporary_name
from prefect_tune.filesystem.providers import ARROW_PROTOCOLS, AZURE_PROTOCOLS, GOOGLE_PROTOCOLS

T = TypeVar("T")
Options = dict[str, Any]

#: Protocols whose writes are atomic, and that have no directories.
OBJECT_STORES = (*GOOGLE_PROTOCOLS, *AZURE_PROTOCOLS, "adl", "oss", "oci", "tos")


class FsspecBackend:
    """`Backend` of any file system that fsspec knows, except for S3.

    Args:
        location: The remote directory.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        protocol = protocol_of(location)
        self.is_object_store = protocol in OBJECT_STORES
        # fsspec seeks even when it reads from byte 0, for which pyarrow opens a stream by default.
        self._read_options: Options = {"seekable": True} if protocol in ARROW_PROTOCOLS else {}
        # adlfs does not replace a blob without this option.
        self._write_options: Options = {"overwrite": True} if protocol in AZURE_PROTOCOLS else {}

    def read(self, path: str, timeout: float) -> bytes:
        data: bytes = self._call("cat_file", path, timeout=timeout)
        return data

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        """Read bytes of a file; the version is ignored."""
        data: bytes = self._call(
            "cat_file", path, start=start, end=end, timeout=timeout, **self._read_options
        )
        return data

    def write(self, path: str, data: bytes, timeout: float) -> None:
        if self.is_object_store:
            self._call("pipe_file", path, data, timeout=timeout, **self._write_options)
            return
        temporary = self._temporary(path, timeout)
        self._call("pipe_file", temporary, data, timeout=timeout)
        self.move(temporary, path, timeout)

    def list_page(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        """List all files below a path on one page."""
        _, base = connect(self._location)
        found = self._call("find", path, detail=True, timeout=timeout)
        if not isinstance(found, dict):
            return {}, ""  # some file systems return a list if the path is a file
        entries = {}
        for name, info in found.items():
            relative = posixpath.relpath(name, base)
            if info["type"] != "file" or name.endswith("/") or relative == path:
                continue
            if not is_temporary(relative):
                entries[relative] = Entry(info["size"])
        return entries, ""

    def delete(self, path: str, timeout: float) -> None:
        self._call("rm_file", path, timeout=timeout)

    def remove_directories(self, path: str, timeout: float) -> None:
        if self.is_object_store:
            return
        try:
            self._call("rm", path, recursive=True, timeout=timeout)
        except FileNotFoundError:
            return

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        target = path if self.is_object_store else self._temporary(path, timeout)

        def send(timeout: float) -> None:
            self._call(
                "put_file", target, source=str(local), timeout=timeout, **self._write_options
            )

        parts = [Part(size, send)]
        if self.is_object_store:
            return Upload(parts)
        return Upload(parts, partial(self.move, target, path), partial(self.delete, target))

    def move(self, source: str, target: str, timeout: float) -> None:
        """Rename a file and replace an existing one; may be repeated."""
        fs, base = connect(self._location)
        old, new = posixpath.join(base, source), posixpath.join(base, target)

        def replace() -> None:
            if fs.exists(new):
                # An earlier try may have succeeded though its answer was lost; the file at
                # `new` is then the right one.
                if not fs.exists(old):
                    return
                fs.rm_file(new)
            fs.mv(old, new)
            if fs.exists(old):
                # Some file systems do not raise if they could not rename.
                raise UnfinishedRename(f"{old} still has its name")

        call_with_timeout(timeout, replace)

    def _temporary(self, path: str, timeout: float) -> str:
        """Return a temporary name in a file's directory, and create the directory."""
        parent, name = posixpath.split(path)
        self._call("makedirs", parent, exist_ok=True, timeout=timeout)
        return posixpath.join(parent, temporary_name(name))

    def _call(
        self, method: str, path: str, *arguments: Any, timeout: float, source: str = "", **more: Any
    ) -> Any:
        fs, base = connect(self._location)
        full = posixpath.join(base, path) if path else base
        places = (source, full) if source else (full,)
        call = getattr(fs, method)
        if fs.async_impl:
            return call(*places, *arguments, timeout=timeout, **more)
        return call_with_timeout(timeout, lambda: call(*places, *arguments, **more))


def call_with_timeout(timeout: float, call: Callable[[], T]) -> T:
    """Call a blocking function in a thread, with a time limit.

    A call that takes too long is abandoned in its thread, which does not keep the process alive.

    Raises:
        TimeoutError: If the call takes longer than `timeout` seconds.
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
