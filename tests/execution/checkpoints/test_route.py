"""Which copies of checkpoints stay on a node."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from prefect_tune.execution.checkpoints.route import LocalCopies


class Copies(LocalCopies):
    """Copies below a directory."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def make(self, path: str, **options: bool) -> None:
        directory = self.root / path
        directory.mkdir(parents=True)
        (directory / "weights").touch()
        self.add(path, directory, **options)

    async def there(self, trial: str = "a") -> str:
        await self.close()
        return "".join(sorted(path.name for path in (self.root / trial).glob("[!.]*")))


@pytest.fixture
def copies(tmp_path):
    """Runs a test's coroutine with copies."""

    def run(test):
        async def body():
            await test(Copies(tmp_path))

        asyncio.run(body())
        assert not list(tmp_path.glob("*/.*"))  # nothing half deleted

    return run


def test_the_newest_two_of_each_trial_stay(copies):
    async def test(copies):
        for name in ("a/1", "b/1", "a/2", "a/3", "b/2"):
            copies.make(name)
        assert (await copies.there("a"), await copies.there("b")) == ("23", "12")
        assert copies.find("a/1") is None
        assert copies.find("a/3") == copies.root / "a/3"

    copies(test)


def test_what_is_used_stays_until_it_is_released(copies):
    async def test(copies):
        copies.use("a/1")  # before it is there: it is on its way
        copies.use("a/1")
        for name in ("a/1", "a/2", "a/3"):
            copies.make(name)
        assert await copies.there() == "123"
        copies.release("a/1")
        assert await copies.there() == "123"
        copies.release("a/1")
        assert await copies.there() == "23"

    copies(test)


def test_nothing_stays_of_a_trial_that_is_over_but_what_is_nowhere_else(copies):
    async def test(copies):
        copies.make("a/1", stored=False)
        copies.make("a/2")
        copies.drop("a")
        assert await copies.there() == "1"
        copies.make("a/3")  # its upload ended after the trial
        copies.make("a/4", stored=False)
        assert await copies.there() == "14"

    copies(test)


def test_one_that_somebody_else_has_removed(copies):
    async def test(copies):
        copies.make("a/1")
        (copies.root / "a/1/weights").unlink()
        (copies.root / "a/1").rmdir()
        copies.make("a/2")
        copies.make("a/3")
        assert await copies.there() == "23"

    copies(test)


def test_what_a_process_of_the_same_number_left_is_no_obstacle(copies):
    async def test(copies):
        leftover = copies.root / "a" / f".1.old-{os.getpid()}"
        leftover.mkdir(parents=True)
        (leftover / "weights").touch()
        for name in ("a/1", "a/2", "a/3"):
            copies.make(name)
        assert await copies.there("a") == "23"
        shutil.rmtree(leftover)

    copies(test)
