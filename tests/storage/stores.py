"""A store in memory that can be away."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.local import local_files
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Wanted


class DictStore:
    """See `Store`.

    Attributes:
        files: What is there.
        error: What every call raises, if anything.
        writes: Names that were written, in order.
    """

    def __init__(self) -> None:
        self.location = Location("memory://dict")
        self.files: dict[str, bytes] = {}
        self.error: StorageError | None = None
        self.writes: list[str] = []
        self._changed = threading.Condition()

    def go_away(self) -> None:
        self.error = StorageUnavailable("the storage is away.")

    def come_back(self) -> None:
        self.error = None

    def wait_until(self, condition, timeout: float = 30.0) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _check(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self.error is not None:
            raise self.error

    def read(self, rel: str) -> bytes | None:
        self._check()
        return self.files.get(rel)

    def write(self, rel: str, data: bytes) -> None:
        self._check()
        with self._changed:
            self.files[rel] = bytes(data)
            self.writes.append(rel)
            self._changed.notify_all()

    def sizes(self, rel: str = "") -> dict[str, int]:
        self._check()
        prefix = f"{rel}/" if rel else ""
        names = sorted(self.files)
        return {n[len(prefix) :]: len(self.files[n]) for n in names if n.startswith(prefix)}

    def delete(self, rels: Iterable[str]) -> None:
        for rel in rels:
            self._check()
            self.files.pop(rel, None)

    def delete_tree(self, rel: str) -> None:
        self.delete(f"{rel}/{name}" for name in self.sizes(rel))

    def put_file(self, local, rel: str) -> None:
        self.write(rel, Path(local).read_bytes())

    def get_file(self, rel: str, local) -> None:
        self._check()
        Path(local).parent.mkdir(parents=True, exist_ok=True)
        Path(local).write_bytes(self.files[rel])

    def put_tree(self, local_dir, rel: str, last=(), names=None) -> None:
        chosen = list(local_files(Path(local_dir)) if names is None else names)
        for name in [n for n in chosen if n not in last] + [n for n in last if n in chosen]:
            path = Path(local_dir, name)
            if not path.exists():
                raise StorageError(f"cannot read {path}.")
            self.put_file(path, f"{rel}/{name}" if rel else name)

    def get_tree(self, rel: str, local_dir, wanted: Wanted | None = None) -> None:
        Path(local_dir).mkdir(parents=True, exist_ok=True)
        for name, size in self.sizes(rel).items():
            if wanted is None or wanted(name, size):
                self.get_file(f"{rel}/{name}" if rel else name, Path(local_dir, name))
