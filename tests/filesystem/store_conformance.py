"""Conformance tests for stores of files.

Derive a test class that says how to make the store::

    class TestMine(StoreConformance):
        @pytest.fixture
        def store(self):
            return Mine(...)
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prefect_tune.error import StorageError
from prefect_tune.filesystem.store import Store
from tests.filesystem.conftest import LARGE


def content(size: int) -> bytes:
    """Return bytes of which no two parts are equal."""
    block = b"".join(number.to_bytes(4, "big") for number in range(16_384))
    return (block * (size // len(block) + 1))[:size]


class StoreConformance:
    """The tests that every store has to pass; derive a test class from it.

    Attributes:
        listing: How many files the store tells at once at most.
    """

    listing = 1000

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        raise NotImplementedError

    def test_what_is_written_is_read(self, store: Store) -> None:
        store.write("a", b"1")
        store.write("deep/er/b", b"\x00\xff" * 3)
        store.write("empty", b"")
        assert store.read("a") == b"1"
        assert store.read("deep/er/b") == b"\x00\xff" * 3
        assert store.read("empty") == b""

    def test_a_file_is_replaced_whole(self, store: Store) -> None:
        store.write("a", b"a long text")
        store.write("a", b"short")
        assert store.read("a") == b"short"
        assert store.sizes() == {"a": 5}

    def test_what_is_not_there(self, store: Store, tmp_path: Path) -> None:
        assert store.read("no") is None
        assert store.sizes() == {}
        assert store.sizes("no/where") == {}
        store.delete(["no", "no/where"])
        store.delete_tree("no")
        store.get_tree("no", tmp_path / "tree")
        assert list((tmp_path / "tree").iterdir()) == []
        assert [path.name for path in tmp_path.iterdir()] == ["tree"]

    def test_names_that_begin_alike_are_told_apart(self, store: Store) -> None:
        for name in ("trial", "trial_1/a", "trial_10/a", "trial_10/b"):
            store.write(name, b"1")
        assert store.sizes("trial_1") == {"a": 1}
        assert store.read("trial") == b"1"
        assert store.read("trial_") is None
        store.delete_tree("trial_1")
        assert sorted(store.sizes()) == ["trial", "trial_10/a", "trial_10/b"]

    def test_sizes_at_any_depth(self, store: Store) -> None:
        store.write("d/.hidden", b"12")
        store.write("d/e/f/g", b"1")
        store.write("d/with space+plus&more=ü", b"123")
        sizes = {".hidden": 2, "e/f/g": 1, "with space+plus&more=ü": 3}
        assert store.sizes("d") == sizes
        assert store.sizes() == {f"d/{name}": size for name, size in sizes.items()}
        assert store.read("d/with space+plus&more=ü") == b"123"

    def test_more_files_than_a_listing_has(self, store: Store) -> None:
        names = [f"many/{number:04d}" for number in range(self.listing + 10)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: store.write(name, b"x"), names))
        assert len(store.sizes("many")) == len(names)
        store.delete_tree("many")
        assert store.sizes() == {}

    def test_delete(self, store: Store) -> None:
        for name in ("a", "b", "d/c"):
            store.write(name, b"1")
        store.delete(["a", "d/c"])
        assert store.sizes() == {"b": 1}

    def test_files_there_and_back(self, store: Store, tmp_path: Path) -> None:
        sizes = (0, 1, 1000, LARGE)
        for size in sizes:
            (tmp_path / "up").write_bytes(content(size))
            store.put_tree(tmp_path, f"sent/{size}", names=["up"])
            store.get_tree(f"sent/{size}", tmp_path / f"new/{size}")
            assert _files(tmp_path / f"new/{size}") == {"up": content(size)}
        assert store.sizes("sent") == {f"{size}/up": size for size in sizes}

    def test_trees_there_and_back(self, store: Store, tmp_path: Path) -> None:
        tree = {"a": b"1", "b/c": b"", "b/d/.hidden": b"22", "large": content(LARGE)}
        _make(tmp_path / "up", tree)
        store.write("tree/of another", b"stays")
        store.put_tree(tmp_path / "up", "tree", last=("a", "not there"))
        (tmp_path / "down").mkdir()
        (tmp_path / "down" / "own").write_bytes(b"stays")
        store.get_tree("tree", tmp_path / "down")
        expected = {**tree, "of another": b"stays", "own": b"stays"}
        assert _files(tmp_path / "down") == expected

    def test_parts_of_trees(self, store: Store, tmp_path: Path) -> None:
        _make(tmp_path / "up", {"a": b"1", "b/c": b"22", "b/d": b"333"})
        store.put_tree(tmp_path / "up", "", names=["a", "b/d"])
        assert store.sizes() == {"a": 1, "b/d": 3}
        store.get_tree("", tmp_path / "down", lambda name, size: size == 3)
        assert _files(tmp_path / "down") == {"b/d": b"333"}

    def test_the_last_files_of_a_tree_come_last(self, store: Store, tmp_path: Path) -> None:
        _make(tmp_path / "up", {"marker": b"m", "zzz/file": b"1", "aaa": content(LARGE)})
        done = threading.Event()
        too_early: list[list[str]] = []

        def record_early_markers() -> None:
            while not done.is_set():
                there = sorted(store.sizes("tree"))
                if "marker" in there and len(there) < 3:
                    too_early.append(there)

        watcher = threading.Thread(target=record_early_markers)
        watcher.start()
        try:
            store.put_tree(tmp_path / "up", "tree", last=("marker",))
        finally:
            done.set()
            watcher.join()
        assert sorted(store.sizes("tree")) == ["aaa", "marker", "zzz/file"]
        assert not too_early

    def test_links_are_followed(self, store: Store, tmp_path: Path) -> None:
        _make(tmp_path, {"up/a": b"1", "elsewhere/b": b"22", "elsewhere/c/d": b"3"})
        (tmp_path / "up" / "link").symlink_to(tmp_path / "elsewhere" / "b")
        (tmp_path / "up" / "dir").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "up" / "above").symlink_to(tmp_path / "up")
        (tmp_path / "up" / "nowhere").symlink_to(tmp_path / "gone")
        store.put_tree(tmp_path / "up", "tree")
        assert store.sizes("tree") == {"a": 1, "link": 2, "dir/b": 2, "dir/c/d": 1}

    def test_a_local_file_that_is_missing_is_named(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="gone"):
            store.put_tree(tmp_path, "tree", names=["gone"])
        with pytest.raises(StorageError, match="gone"):
            store.put_tree(tmp_path / "gone", "tree")
        assert store.sizes() == {}

    def test_paths_stay_below(self, store: Store, tmp_path: Path) -> None:
        for path in ("../a", "/a", "a/../../b", "a//b"):
            with pytest.raises(ValueError, match="not a path below"):
                store.write(path, b"")
            with pytest.raises(ValueError, match="not a path below"):
                store.read(path)

    def test_many_threads(self, store: Store) -> None:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    name = f"{number}/{turn}"
                    store.write(name, name.encode())
                    assert store.read(name) == name.encode()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(store.sizes()) == 80


def _make(directory: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _files(directory: Path) -> dict[str, bytes]:
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}
