"""Checkpoints from one machine to another, chunk by chunk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.checkpoint.manifest import MARKER, verify
from prefect_tune.error import CheckpointUnreadable, StorageError, StorageUnavailable
from prefect_tune.execution.files import node_files
from prefect_tune.execution.files.chunked_copy import (
    LocalDirectory,
    TransferEnd,
    Transfers,
    in_batches,
    in_uncancelled_thread,
)
from prefect_tune.execution.files.confined_directory import CHUNK_BYTES
from prefect_tune.execution.files.node_files import READ_FILES
from tests.execution.loopback import Node, content, make_checkpoint

PATH = "trial/checkpoint_000003"
FILES = {
    "large": bytes(range(256)) * (CHUNK_BYTES // 256 * 5 // 2) + b"end",
    "empty": b"",
    "sub/dir/small": b"small",
    **{f"many/{number}": b"%d" % number for number in range(600)},
}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "node")


@pytest.fixture
def driver(tmp_path):
    return tmp_path / "driver"


def pull(node, driver, timeout_s=60.0):
    copy = Transfers(timeout_s).copy(
        TransferEnd(node.there(), PATH), TransferEnd(LocalDirectory(driver), PATH)
    )
    asyncio.run(copy)


def push(node, driver):
    copy = Transfers(60.0).copy(
        TransferEnd(LocalDirectory(driver), PATH), TransferEnd(node.there(), PATH)
    )
    asyncio.run(copy)


def left_in(directory):
    return [str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()]


@given(st.dictionaries(st.text("ab", min_size=1), st.integers(0, 3 * CHUNK_BYTES)))
def test_a_plan_covers_every_byte_once(sizes):
    batches = list(in_batches(sizes))
    assert all(sum(piece.length for piece in batch) <= CHUNK_BYTES for batch in batches)
    ends = dict.fromkeys(sizes, 0)
    seen = set()
    for piece in (piece for batch in batches for piece in batch):
        assert piece.offset == ends[piece.path]
        ends[piece.path] += piece.length
        seen.add(piece.path)
    assert ends == sizes
    assert seen == set(sizes)


def test_both_ways(node, driver):
    make_checkpoint(node.directory / PATH, FILES)
    pull(node, driver)
    assert content(driver / PATH) == content(node.directory / PATH)
    assert not verify(driver / PATH)
    # Small files travel together.
    assert len([call for call in node.calls if call["op"] == READ_FILES]) < 12

    other = Node(node.directory.with_name("other"))
    push(other, driver)
    assert content(other.directory / PATH) == content(node.directory / PATH)
    assert os.listdir(other.directory / "trial") == ["checkpoint_000003"]


@pytest.mark.parametrize("direction", [pull, push])
def test_lost_questions_and_answers_are_made_good(node, driver, direction, monkeypatch):
    monkeypatch.setattr(node_files, "_RETRY_S", 0.001)
    lost = set()

    def trouble(number, operation, done):
        # Each operation gets through at its third try: its question and its answer are lost once.
        if (operation, done) not in lost:
            lost.add((operation, done))
            raise OSError("connection reset")

    node.trouble = trouble
    make_checkpoint((node.directory if direction is pull else driver) / PATH, FILES)
    direction(node, driver)
    assert content(driver / PATH) == content(node.directory / PATH)
    assert len(lost) >= 2


def test_a_source_that_is_incomplete_leaves_nothing(node, driver):
    make_checkpoint(node.directory / PATH, FILES)
    with open(node.directory / PATH / "large", "r+b") as file:
        file.truncate(CHUNK_BYTES + 1)
    with pytest.raises(CheckpointUnreadable, match="large has fewer bytes"):
        pull(node, driver)
    assert left_in(driver) == []

    (node.directory / PATH / "large").unlink()
    with pytest.raises(CheckpointUnreadable, match=r"tcp://node:1: .*large is missing"):
        pull(node, driver)
    (node.directory / PATH / ".is_checkpoint").write_text("{")
    with pytest.raises(CheckpointUnreadable, match="not readable"):
        pull(node, driver)
    assert left_in(driver) == []


def test_a_manifest_cannot_name_files_elsewhere(node, driver):
    make_checkpoint(node.directory / PATH, {"a": b"1"})
    (node.directory / PATH / ".is_checkpoint").write_text('{"format": 1, "files": {"../x": 1}}')
    with pytest.raises(CheckpointUnreadable, match=r"\.\./x"):
        pull(node, driver)


def test_a_link_out_of_the_node_directory_is_not_followed(node, driver, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    directory = node.directory / PATH
    directory.mkdir(parents=True)
    (directory / "weights").symlink_to(tmp_path / "weights")
    make_checkpoint(directory, {"a": b"1"})
    with pytest.raises(StorageError, match="leads out of"):
        pull(node, driver)
    assert left_in(driver) == []


def test_a_full_disk_leaves_nothing(node, driver, monkeypatch):
    make_checkpoint(node.directory / PATH, FILES)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="No space left"):
        pull(node, driver)
    assert left_in(driver) == []


def test_a_node_that_does_not_answer_is_given_up(node, driver):
    make_checkpoint(node.directory / PATH, FILES)

    def silent(number, operation, done):
        if number > 3:
            raise OSError("connection reset")

    node.trouble = silent
    with pytest.raises(StorageUnavailable, match=r"within 0\.3 s"):
        pull(node, driver, timeout_s=0.3)
    assert left_in(driver) == []


def test_a_node_that_has_ended_the_experiment_is_not_asked_again(node, driver):
    node.open = False
    with pytest.raises(StorageUnavailable, match="has ended the experiment"):
        pull(node, driver)
    assert len(node.calls) == 1


def test_a_cancelled_transfer_leaves_nothing(node, driver):
    make_checkpoint(node.directory / PATH, FILES)

    async def cancelled():
        half = asyncio.Event()
        node.trouble = lambda number, *_: half.set() if number > 2 else None
        here = LocalDirectory(driver)
        task = asyncio.ensure_future(
            Transfers(60.0).copy(TransferEnd(node.there(), PATH), TransferEnd(here, PATH))
        )
        await half.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert left_in(driver) == []


def test_memory_is_bounded(node, driver):
    make_checkpoint(node.directory / PATH, {f"f{n}": b"x" * CHUNK_BYTES for n in range(12)})
    reading = 0
    most = 0

    class Counting(LocalDirectory):
        async def read(self, pieces):
            nonlocal reading, most
            if not pieces[0].path.endswith(MARKER):  # is read alone first, and written last
                reading += 1
                most = max(most, reading)
            return await super().read(pieces)

        async def write(self, pieces, data):
            nonlocal reading
            await super().write(pieces, data)
            reading -= not pieces[0].path.endswith(MARKER)

    async def copy_all():
        transfers = Transfers(60.0, chunks=3)
        place = Counting(node.directory)
        targets = [TransferEnd(place, f"t{n}/checkpoint_000001") for n in range(3)]
        await asyncio.gather(
            *(transfers.copy(TransferEnd(place, PATH), target) for target in targets)
        )

    asyncio.run(copy_all())
    assert most == 3


def test_a_call_in_a_thread_is_over_when_its_task_is_however_often_that_is_cancelled():
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        go_on.wait()
        over.set()

    async def cancelled_twice() -> None:
        task = asyncio.ensure_future(in_uncancelled_thread(write))
        await asyncio.to_thread(begun.wait)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        ended_early = task.done()
        go_on.set()
        await asyncio.wait([task])
        assert not ended_early
        assert task.cancelled()
        assert over.is_set()

    asyncio.run(cancelled_twice())
