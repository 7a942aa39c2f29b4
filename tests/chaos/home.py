"""Where an experiment is: a local directory, or a place in a bucket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import open_store
from prefect_tune.storage.journal.remote import read_remote
from tests.s3.endpoint import Bucket

from .evidence import Told, read_journal, told_by
from .shelf import BucketShelf, LocalShelf, Shelf

_RESULT_FILES = ("result.json", "progress.csv")


class Home(Protocol):
    """One of the places in which an experiment is."""

    #: Stands in front of what is found there.
    name: str

    def told(self) -> Told:
        """What its journal says now."""
        ...

    def shelf(self) -> Shelf:
        """Its checkpoints."""
        ...

    def files(self) -> contextlib.AbstractContextManager[Path]:
        """A local directory with its result files."""
        ...


class LocalHome:
    """An experiment directory.

    Args:
        path: The directory.
        bucket: Where its checkpoints are if they are not in the directory.
    """

    name = ""

    def __init__(self, path: Path, bucket: BucketHome | None = None) -> None:
        self._path = path
        self._bucket = bucket

    def told(self) -> Told:
        return read_journal(self._path)

    def shelf(self) -> Shelf:
        return LocalShelf(self._path) if self._bucket is None else self._bucket.shelf()

    @contextlib.contextmanager
    def files(self) -> Iterator[Path]:
        yield self._path


class BucketHome:
    """An experiment in a bucket.

    Args:
        bucket: The bucket.
        prefix: Of everything that belongs to the experiment; ends with a slash.
    """

    name = "in storage: "

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    def told(self) -> Told:
        url = f"{self._bucket.url}/{self._prefix.rstrip('/')}"
        return told_by(read_remote(open_store(Location(url, self._bucket.options))).data)

    def shelf(self) -> Shelf:
        return BucketShelf(self._bucket, self._prefix)

    @contextlib.contextmanager
    def files(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as scratch:
            for key in self._bucket.keys(self._prefix):
                relative = key.removeprefix(self._prefix)
                if relative.endswith(_RESULT_FILES):
                    target = Path(scratch, relative)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(self._bucket.read(key))
            yield Path(scratch)
