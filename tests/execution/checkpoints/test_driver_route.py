"""What a node does with checkpoints when only the driver can take and bring them."""

from __future__ import annotations

import asyncio
import os

import pytest

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.checkpoints.driver_route import DriverRoute
from prefect_tune.execution.checkpoints.node_checkpoints import NodeCheckpoints
from prefect_tune.execution.checkpoints.route import COPIES_PER_TRIAL, SharedDirectoryRoute
from prefect_tune.execution.files.node_directory import SHARED_DIRECTORY, NodeDirectory
from prefect_tune.execution.protocol.reports import CopyToDriver, Outbox
from prefect_tune.filesystem.location import Location
from prefect_tune.storage.experiment_dir import MARKER_FILE
from prefect_tune.trainable.shipping.packing import TrainableSource
from tests.execution.loopback import make_checkpoint

FILES = {"a": b"1"}


class Asked:
    """A route and the questions that it has asked."""

    def __init__(self, directory):
        self.directory = directory
        self.outbox = Outbox()
        self.route = DriverRoute(directory, self.outbox)
        self._acknowledged = 0

    async def questions(self, patience=60):
        self._acknowledged, entries = await self.outbox.next_batch(self._acknowledged, patience)
        return entries

    def upload(self, number):
        path = f"t/checkpoint_{number:06d}"
        directory = make_checkpoint(self.directory / path, FILES)
        return path, self.route.upload(path, directory)

    async def bring(self):
        """Do what the driver would."""
        (request,) = await self.questions()
        directory = make_checkpoint(self.directory / request.to, FILES)
        self.route.on_answer(False, request.path, "", False)
        return directory


@pytest.fixture
def asked(tmp_path):
    """Runs a test in an event loop."""

    def run(test):
        async def main():
            asked = Asked(tmp_path / "node")
            await test(asked)
            await asked.route.close(0)

        asyncio.run(main())

    return run


def test_a_checkpoint_is_kept_once_the_driver_says_so(asked):
    async def test(asked):
        one, first = asked.upload(1)
        two, second = asked.upload(2)
        assert await asked.questions() == [CopyToDriver(one), CopyToDriver(two)]
        asked.route.on_answer(True, two, "the disk is full", False)
        asked.route.on_answer(True, "t/another", "", False)
        assert await second == "the disk is full"
        assert not first.done()
        asked.route.on_answer(True, one, "", False)
        assert await first == ""

    asked(test)


def test_only_the_newest_copies_stay(asked):
    async def test(asked):
        kept = [asked.upload(number) for number in range(5)]
        await asked.questions()
        for path, future in kept:
            asked.route.on_answer(True, path, "", False)
            await future
        await asked.route.close(0)
        names = sorted(os.listdir(asked.directory / "t"))
        assert names == [f"checkpoint_{n:06d}" for n in range(5 - COPIES_PER_TRIAL, 5)]
        # An attempt that goes on here needs nobody.
        assert await asked.route.fetch(kept[-1][0]) == asked.directory / kept[-1][0]
        assert await asked.questions(patience=0.01) == []

    asked(test)


def test_a_checkpoint_is_brought_once_for_all_who_wait(asked):
    async def test(asked):
        waiting = [asyncio.create_task(asked.route.fetch("t/checkpoint_000001")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # that attempt was killed
        directory = await asked.bring()
        assert await asyncio.gather(*waiting[1:]) == [directory, directory]
        assert await asked.route.fetch("t/checkpoint_000001") == directory
        (directory / "a").unlink()  # what is not complete any more is brought again
        again = asyncio.create_task(asked.route.fetch("t/checkpoint_000001"))
        await asked.bring()
        assert await again == directory

    asked(test)


@pytest.mark.parametrize(("damaged", "kind"), [(True, CheckpointUnreadable), (False, StorageError)])
def test_what_cannot_be_brought_says_whose_fault_it_is(asked, damaged, kind):
    async def test(asked):
        for path in ("t/checkpoint_000001", "/elsewhere/checkpoint"):
            fetch = asyncio.create_task(asked.route.fetch(path))
            (request,) = await asked.questions()
            assert request.path == path
            asked.route.on_answer(False, path, "no", damaged)
            with pytest.raises(StorageError, match="no") as caught:
                await fetch
            assert type(caught.value) is kind

    asked(test)


def test_nobody_waits_for_a_closed_experiment(asked):
    async def test(asked):
        _, kept = asked.upload(1)
        fetch = asyncio.create_task(asked.route.fetch("t/checkpoint_000009"))
        await asyncio.sleep(0)
        await asked.route.close(0)
        assert "closed" in await kept
        with pytest.raises(StorageError, match="closed"):
            await fetch

    asked(test)


def make_checkpoints(tmp_path, **options):
    directory = tmp_path / "experiment"
    directory.mkdir(exist_ok=True)
    (directory / MARKER_FILE).write_text("id")
    source = TrainableSource("train", b"", "train", (), "")
    env = ExperimentEnv("id", "test", source, str(directory), **options)
    node = NodeDirectory(env)
    outbox = Outbox()
    return NodeCheckpoints(env, node, outbox), node, outbox


def test_the_route_that_fits(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    async def test():
        shared, *_ = make_checkpoints(tmp_path)
        assert shared.files is None
        monkeypatch.setenv(SHARED_DIRECTORY, "0")
        own, node, _ = make_checkpoints(tmp_path)
        assert isinstance(own.route, DriverRoute)
        assert own.files.directory.root == node.path
        node.remove()
        none, node, _ = make_checkpoints(tmp_path, sync_to_driver=False)
        assert isinstance(none.route, SharedDirectoryRoute)
        assert "sync_to_driver=False" in await none.route.upload("t/c", node.path)
        with pytest.raises(StorageError, match="does not see"):
            await none.fetch("t/checkpoint_000001")
        node.remove()

    asyncio.run(test())


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("storage", [None, Location("memory://bucket")])
def test_a_directory_of_the_driver_is_brought_by_the_driver(tmp_path, monkeypatch, storage, scheme):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(SHARED_DIRECTORY, "0")

    async def test():
        checkpoints, node, outbox = make_checkpoints(tmp_path, storage=storage)
        fetch = asyncio.create_task(checkpoints.fetch(f"{scheme}/elsewhere/checkpoint"))
        await outbox.next_batch(0, 60)
        checkpoints.files.on_answer(False, "/elsewhere/checkpoint", "brought", False)
        with pytest.raises(StorageError, match="brought"):
            await fetch
        await checkpoints.close(0)
        node.remove()

    asyncio.run(test())
