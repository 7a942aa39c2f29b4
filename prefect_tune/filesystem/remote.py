"""A store on a file system that is reached by requests."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from prefect_tune.error import StorageError
from prefect_tune.filesystem.backend import Backend, Entry, Upload
from prefect_tune.filesystem.failures import NotFound, classify
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.names import checked, join, temporary_name
from prefect_tune.filesystem.parts import parallel, part_size, ranges
from prefect_tune.filesystem.retry import Call, Limits, OutageWatch, Retry
from prefect_tune.filesystem.store import Wanted, in_order, local_files

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sending:
    upload: Upload
    rel: str


class RemoteStore:
    """A `Store` on a file system that is reached by requests.

    Args:
        location: Where it is.
        backend: Makes the requests.
        limits: How long things may take.
        cancelled: Ends waiting for a store that is away.
        watch: Learns of that.
    """

    def __init__(
        self,
        location: Location,
        backend: Backend,
        limits: Limits,
        cancelled: threading.Event | None = None,
        watch: OutageWatch | None = None,
    ) -> None:
        self.location = location
        self._backend = backend
        self._retry = Retry(limits, cancelled, watch)

    def read(self, rel: str) -> bytes | None:
        checked(rel)
        try:
            return self._do("read", rel, partial(self._backend.read, rel))
        except NotFound:
            return None

    def write(self, rel: str, data: bytes) -> None:
        checked(rel)
        self._do("write", rel, partial(self._backend.write, rel, data), size=len(data))

    def sizes(self, rel: str = "") -> dict[str, int]:
        return {name: entry.size for name, entry in self._list(self._retry.begin(), rel).items()}

    def exists(self, rel: str) -> bool:
        checked(rel)
        try:
            self._do("look for", rel, partial(self._backend.stat, rel))
        except NotFound:
            return False
        return True

    def delete(self, rels: Iterable[str]) -> None:
        self._delete(self._retry.begin(), [checked(rel) for rel in rels])

    def delete_tree(self, rel: str) -> None:
        call = self._retry.begin()
        self._delete(call, [join(rel, name) for name in self._list(call, rel)])
        self._try(call, "delete", rel, partial(self._backend.remove_directories, rel))

    def put_file(self, local: str | os.PathLike[str], rel: str) -> None:
        self._put(self._retry.begin(), [(Path(local), checked(rel))])

    def get_file(self, rel: str, local: str | os.PathLike[str]) -> None:
        checked(rel)
        call = self._retry.begin()
        entry = call.run("read", self._url(rel), partial(self._backend.stat, rel))
        self._get(call, [(rel, entry, Path(local))])

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
        first, at_the_end = in_order(names, last)
        self._put(call, [(source / name, join(checked(rel), name)) for name in first])
        for name in at_the_end:
            self._put(call, [(source / name, join(rel, name))])

    def get_tree(
        self, rel: str, local_dir: str | os.PathLike[str], wanted: Wanted | None = None
    ) -> None:
        call = self._retry.begin()
        entries = self._list(call, rel)
        target = Path(local_dir)
        _local(target, partial(target.mkdir, parents=True, exist_ok=True))
        chosen = {
            name: entry
            for name, entry in entries.items()
            if wanted is None or wanted(name, entry.size)
        }
        self._get(call, [(join(rel, n), entry, target / n) for n, entry in chosen.items()])

    def _list(self, call: Call, rel: str) -> dict[str, Entry]:
        checked(rel)
        found: dict[str, Entry] = {}
        page = ""
        while True:
            try:
                ask = partial(self._backend.list, rel, page)
                entries, page = call.run("list", self._url(rel), ask)
            except NotFound:
                entries, page = {}, ""  # file systems that have directories
            found |= entries
            if not page:
                break
        start = len(rel) + 1 if rel else 0
        try:
            return {checked(name[start:]): found[name] for name in sorted(found)}
        except ValueError as error:
            raise StorageError(f"cannot use the files below {self._url(rel)}: {error}.") from error

    def _delete(self, call: Call, rels: Sequence[str]) -> None:
        delete = self._backend.delete
        run_all([partial(self._try, call, "delete", rel, partial(delete, rel)) for rel in rels])

    def _put(self, call: Call, files: Sequence[tuple[Path, str]]) -> None:
        """Send files: all their parts in one pool, so that a large one is as fast as many."""
        sending: list[_Sending] = []
        try:
            run_all([self._beginning(call, local, rel, sending) for local, rel in files])
            parts = [(one, part) for one in sending for part in one.upload.parts]
            largest = max((part.size for _, part in parts), default=0)
            send = partial(call.run, "write")
            run_all(
                [partial(send, self._url(one.rel), part.send, part.size) for one, part in parts],
                parallel(largest),
            )
            run_all([partial(send, self._url(one.rel), one.upload.finish) for one in sending])
        except BaseException:
            for one in sending:
                self._abort(one)
            raise

    def _beginning(
        self, call: Call, local: Path, rel: str, sending: list[_Sending]
    ) -> Callable[[], None]:
        def begin() -> None:
            try:
                size = local.stat().st_size
            except OSError as error:
                raise StorageError(f"cannot read {local}: {error.strerror}.") from error
            ask = partial(self._backend.begin_upload, local, size, rel)
            upload = call.run("write", self._url(rel), ask)
            sending.append(_Sending(upload, rel))

        return begin

    def _abort(self, one: _Sending) -> None:
        try:
            one.upload.abort(10.0)
        except Exception as error:
            # The upload has failed, which is what the caller hears; nothing of it is visible.
            log.debug("Parts of %s were left behind: %s", self._url(one.rel), classify(error).text)

    def _get(self, call: Call, files: Sequence[tuple[str, Entry, Path]]) -> None:
        temporary = [local.with_name(temporary_name(local.name)) for _, _, local in files]
        try:
            jobs: list[Callable[[], None]] = []
            for (rel, entry, _), new in zip(files, temporary, strict=True):
                _make_file(new, entry.size)
                jobs += [
                    self._fetching(call, rel, entry, begin, end, new)
                    for begin, end in ranges(entry.size)
                ]
            sizes = [entry.size for _, entry, _ in files]
            largest = max((min(size, part_size(size)) for size in sizes), default=0)
            run_all(jobs, parallel(largest))
            for (_, _, local), new in zip(files, temporary, strict=True):
                _local(new, partial(os.replace, new, local))
        except BaseException:
            for new in temporary:
                new.unlink(missing_ok=True)
            raise

    def _fetching(
        self, call: Call, rel: str, entry: Entry, begin: int, end: int, new: Path
    ) -> Callable[[], None]:
        def fetch() -> None:
            ask = partial(self._backend.read_range, rel, begin, end, entry.version)
            data = call.run("read", self._url(rel), ask, end - begin)
            _local(new, partial(_write_at, new, begin, data))

        return fetch

    def _do(self, doing: str, rel: str, request: Callable[[float], T], size: int = 0) -> T:
        return self._retry.begin().run(doing, self._url(rel), request, size)

    def _try(self, call: Call, doing: str, rel: str, request: Callable[[float], None]) -> None:
        try:
            call.run(doing, self._url(rel), request)
        except NotFound:
            return

    def _url(self, rel: str) -> str:
        return (self.location / rel).url


def run_all(jobs: Sequence[Callable[[], None]], at_once: int = 8) -> None:
    """Run jobs in parallel; after a failure no further one is begun.

    Args:
        jobs: What to do.
        at_once: How many run at the same time.

    Raises:
        Exception: The first failure, once nothing runs any more.
    """
    if len(jobs) == 1:
        jobs[0]()
        return
    with ThreadPoolExecutor(min(at_once, len(jobs) or 1), "storage") as pool:
        futures = [pool.submit(job) for job in jobs]
        _, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        if waiting:
            pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            if not future.cancelled():
                future.result()


def _make_file(path: Path, size: int) -> None:
    def make() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            # Room for all of it, so that a disk that is too small is found before the transfer.
            if size:
                os.posix_fallocate(file.fileno(), 0, size)

    _local(path, make)


def _write_at(path: Path, start: int, data: bytes) -> None:
    with open(path, "r+b", buffering=0) as file:
        file.seek(start)
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def _local(path: Path, action: Callable[[], T]) -> T:
    """Do something on this machine's disk, which is not tried again.

    Raises:
        StorageError: If it fails; says why.
    """
    try:
        return action()
    except OSError as error:
        failure = classify(error)
        raise failure.as_error("write", str(path)) from error
