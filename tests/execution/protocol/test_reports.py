"""The outbox of a node."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from prefect_tune.execution.protocol.reports import (
    CheckpointAnnounced,
    CheckpointUploaded,
    CopyToDriver,
    CopyToNode,
    NodeWarning,
    Outbox,
    ProcessEnded,
    ProcessStarted,
    ResultBatch,
    StorageOutage,
    UploadFailed,
    WorkerLoad,
    decode_reports,
    encode_reports,
)
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.trainable.output import TrialLog, TrialOutput

A, B = AttemptKey("a", 1), AttemptKey("b", 1)


def on_a_loop(test):
    def run():
        async def main():
            await test(Outbox())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@on_a_loop
async def test_entries_come_in_order(outbox):
    outbox.put(ProcessStarted(A, 7, "host", "10.0.0.1"))
    outbox.put_results(A, 1, [b"1"], True)
    outbox.put(ProcessEnded(A, "finished"))
    number, entries = await outbox.next_batch(0, 10)
    assert number == 1
    assert [type(entry) for entry in entries] == [ProcessStarted, ResultBatch, ProcessEnded]


@on_a_loop
async def test_consecutive_results_travel_together_up_to_an_awaited_one(outbox):
    outbox.put_results(A, 1, [b"1", b"2"], False)
    outbox.put_results(A, 3, [b"3"], True)
    outbox.put_results(A, 4, [b"4"], False)
    outbox.put_results(B, 1, [b"1"], False)
    outbox.put_results(A, 5, [b"5"], False)
    _, entries = await outbox.next_batch(0, 10)
    assert entries == [
        ResultBatch(A, 1, [b"1", b"2", b"3"], True),
        ResultBatch(A, 4, [b"4"], False),
        ResultBatch(B, 1, [b"1"], False),
        ResultBatch(A, 5, [b"5"], False),
    ]


@on_a_loop
async def test_a_lost_answer_is_given_again(outbox):
    outbox.put(ProcessEnded(A, "finished"))
    first = await outbox.next_batch(0, 10)
    outbox.put(ProcessEnded(B, "finished"))
    assert await outbox.next_batch(0, 10) == first
    number, entries = await outbox.next_batch(first[0], 10)
    assert (number, entries[0].key) == (2, B)


@on_a_loop
async def test_an_asker_that_is_gone_takes_nothing_away(outbox):
    gone = asyncio.create_task(outbox.next_batch(0, 10))
    asker = asyncio.create_task(outbox.next_batch(0, 10))
    await asyncio.sleep(0)
    outbox.put(ProcessEnded(A, "finished"))
    assert await gone == await asker
    assert (await asker)[1][0].key == A


@on_a_loop
async def test_nothing_to_say_is_an_empty_batch_with_the_old_number(outbox):
    assert await outbox.next_batch(0, 0.001) == (0, [])
    outbox.put(ProcessEnded(A, "finished"))
    assert (await outbox.next_batch(0, 10))[0] == 1
    assert await outbox.next_batch(1, 0.001) == (1, [])


@on_a_loop
async def test_results_nobody_waits_for_are_not_held_back_for_long(outbox):
    asker = asyncio.create_task(outbox.next_batch(0, 10))
    outbox.put_results(A, 1, [b"1"], False)
    assert len((await asker)[1]) == 1


@on_a_loop
async def test_a_slow_driver_fills_it_and_empties_it(outbox):
    resumed = []
    outbox.put_results(A, 1, [b"x" * (1 << 20)] * 9, False)
    assert outbox.full
    outbox.when_room(lambda: resumed.append(True))
    await outbox.next_batch(0, 10)
    assert not outbox.full
    assert resumed == [True]


@on_a_loop
async def test_it_is_full_of_many_small_results_too(outbox):
    seq = 1
    while not outbox.full:
        outbox.put_results(A, seq, [b"1"] * 100, False)
        seq += 100
    assert seq < 10_000
    room = asyncio.Event()
    outbox.when_room(room.set)
    await outbox.next_batch(0, 10)
    await asyncio.wait_for(room.wait(), 10)
    assert not outbox.full


@on_a_loop
async def test_who_saves_hears_when_the_driver_knows(outbox):
    known = []
    outbox.put(CheckpointUploaded(A, "a/1", b"{}"), arrived=lambda: known.append(1))
    number, _ = await outbox.next_batch(0, 10)
    outbox.put(CheckpointUploaded(A, "a/2", b"{}"), arrived=lambda: known.append(2))
    assert known == []
    await outbox.next_batch(0, 10)  # the answer got lost
    assert known == []
    await outbox.next_batch(number, 10)
    assert known == [1]


@pytest.mark.parametrize(
    "report",
    [
        ProcessStarted(A, 7, "host", "10.0.0.1"),
        ResultBatch(A, 3, [b"{}", b"\xff"], True),
        CheckpointAnnounced(A, 4),
        CheckpointUploaded(A, "a/checkpoint_000004", b"{}"),
        UploadFailed(A, "a/checkpoint_000004", "the disk is full"),
        ProcessEnded(A, "failed", b"pickled", ("a/checkpoint_000004",)),
        CopyToDriver("a/checkpoint_000004"),
        CopyToNode("a/checkpoint_000004", ".fetched/x"),
        StorageOutage(""),
        WorkerLoad({"CPU": 1.0}, "it is paused"),
        NodeWarning("it is full"),
        TrialOutput("a", 1, 7, True, ("one", "two"), 3, "/t/stderr"),
        TrialLog("a", 1, b"line"),
    ],
    ids=lambda report: type(report).__name__,
)
def test_each_kind_of_report_arrives_as_it_was(report):
    # As Dask packs what it sends.
    packed = msgpack.packb(encode_reports([report, report]), use_bin_type=True)
    first, second = decode_reports(msgpack.unpackb(packed, use_list=False, strict_map_key=False))
    assert type(first) is type(report)
    if isinstance(report, ResultBatch):
        assert list(first.results) == report.results
        assert (first.key, first.first_seq, first.awaiting) == (A, 3, True)
    else:
        assert first == second == report
    if not isinstance(report, (CopyToDriver, CopyToNode, StorageOutage, WorkerLoad)):
        assert isinstance(getattr(first, "key", A), AttemptKey)
