"""Copies files between the local disk and a file system, their parts in parallel."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from prefect_tune.error import storage_errors
from prefect_tune.filesystem.backend import (
    Backend,
    Entry,
    Upload,
    max_parallel_parts,
    part_ranges,
    part_size,
)
from prefect_tune.filesystem.failures import TruncatedTransfer, classify
from prefect_tune.filesystem.location import Location, temporary_name
from prefect_tune.filesystem.retry import Call

log = logging.getLogger(__name__)


def upload_files(
    call: Call, backend: Backend, location: Location, files: Sequence[tuple[Path, str]]
) -> None:
    """Upload files, with the parts of all files in one thread pool.

    Args:
        call: Retries the requests.
        backend: Makes the requests.
        location: The directory that the backend's paths are relative to, for messages.
        files: Local path and path in the file system of each file.
    """
    uploads: list[tuple[str, Upload]] = []
    send = partial(call.run, "write")

    def begin(local: Path, rel: str) -> None:
        with storage_errors(f"read {local}"), open(local, "rb") as file:
            size = os.fstat(file.fileno()).st_size
        url = (location / rel).url
        uploads.append((url, send(url, partial(backend.begin_upload, local, size, rel))))

    run = partial(_run_at, location)
    try:
        run([partial(begin, local, rel) for local, rel in files])
        parts = [(url, part) for url, upload in uploads for part in upload.parts]
        largest = max((part.size for _, part in parts), default=0)
        run(
            [partial(send, url, part.send, part.size) for url, part in parts],
            max_parallel_parts(largest),
        )
        run([partial(send, url, upload.finish) for url, upload in uploads])
    except BaseException:
        for url, upload in uploads:
            _abort(upload, url)
        raise


def download_files(
    call: Call, backend: Backend, location: Location, files: Sequence[tuple[str, Entry, Path]]
) -> None:
    """Download files, with the parts of all files in one thread pool.

    Args:
        call: Retries the requests.
        backend: Makes the requests.
        location: The directory that the backend's paths are relative to, for messages.
        files: Path in the file system, entry in its listing, and local path of each file.
    """
    temporary = [local.with_name(temporary_name(local.name)) for _, _, local in files]

    def fetch(rel: str, entry: Entry, begin: int, end: int, local: Path) -> None:
        def request(timeout: float) -> bytes:
            data = backend.read_range(rel, begin, end, entry.version, timeout)
            if len(data) != end - begin:
                raise TruncatedTransfer(f"{len(data)} bytes of {end - begin} arrived")
            return data

        _write_at(local, begin, call.run("read", (location / rel).url, request, end - begin))

    try:
        jobs: list[Callable[[], None]] = []
        for (rel, entry, _), new in zip(files, temporary, strict=True):
            _make_file(new, entry.size)
            ranges = part_ranges(entry.size)
            jobs += [partial(fetch, rel, entry, begin, end, new) for begin, end in ranges]
        sizes = [entry.size for _, entry, _ in files]
        largest = max((min(size, part_size(size)) for size in sizes), default=0)
        _run_at(location, jobs, max_parallel_parts(largest))
        for (_, _, local), new in zip(files, temporary, strict=True):
            with writing(new):
                os.replace(new, local)
    except BaseException:
        for new in temporary:
            new.unlink(missing_ok=True)
        raise


def run_all(jobs: Sequence[Callable[[], None]], max_threads: int = 8) -> None:
    """Run jobs in parallel; after a failure start no further job.

    Args:
        jobs: The functions to call.
        max_threads: How many jobs run at the same time.

    Raises:
        Exception: The first failure, once all running jobs have ended.
    """
    if len(jobs) == 1 or max_threads == 1:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(min(max_threads, len(jobs) or 1), "storage") as pool:
        futures = [pool.submit(job) for job in jobs]
        _, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        if waiting:
            pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            if not future.cancelled():
                future.result()


def _run_at(location: Location, jobs: Sequence[Callable[[], None]], max_threads: int = 8) -> None:
    """Run jobs that make requests to a location, in parallel if there is an answer to wait for."""
    run_all(jobs, 1 if location.is_local else max_threads)


def _abort(upload: Upload, url: str) -> None:
    try:
        upload.abort(10.0)
    except Exception as error:
        # The caller gets the error of the failed upload; these parts are invisible.
        log.debug("Parts of %s were left behind: %s", url, classify(error).text)


def _make_file(path: Path, size: int) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            # Reserve space for the whole file, so that a full disk is found before the transfer.
            if size:
                os.posix_fallocate(file.fileno(), 0, size)


def _write_at(path: Path, start: int, data: bytes) -> None:
    with writing(path), open(path, "r+b") as file:
        file.seek(start)
        file.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an `OSError` of the block, which writes to the local disk, as a `StorageError`.

    Nothing is retried. The message says what the user can do.
    """
    try:
        yield
    except OSError as error:
        raise classify(error).as_error("write", str(path)) from error
