"""The outbox of a node."""

from __future__ import annotations

import asyncio

from prefect_tune.execution.protocol.reports import ENDED, RESULTS, STARTED, Outbox


def on_a_loop(test):
    def run():
        async def main():
            await test(Outbox())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@on_a_loop
async def test_entries_come_in_order(outbox):
    outbox.started("a", 1, 7, "host", "10.0.0.1")
    outbox.results("a", 1, 1, [b"1"], True)
    outbox.ended("a", 1, "finished", None)
    number, entries = await outbox.take(0, 10)
    assert number == 1
    assert [entry[0] for entry in entries] == [STARTED, RESULTS, ENDED]


@on_a_loop
async def test_consecutive_results_travel_together_up_to_an_awaited_one(outbox):
    outbox.results("a", 1, 1, [b"1", b"2"], False)
    outbox.results("a", 1, 3, [b"3"], True)
    outbox.results("a", 1, 4, [b"4"], False)
    outbox.results("b", 1, 1, [b"1"], False)
    outbox.results("a", 1, 5, [b"5"], False)
    _, entries = await outbox.take(0, 10)
    assert entries == [
        (RESULTS, "a", 1, 1, [b"1", b"2", b"3"], True),
        (RESULTS, "a", 1, 4, [b"4"], False),
        (RESULTS, "b", 1, 1, [b"1"], False),
        (RESULTS, "a", 1, 5, [b"5"], False),
    ]


@on_a_loop
async def test_a_lost_answer_is_given_again(outbox):
    outbox.ended("a", 1, "finished", None)
    first = await outbox.take(0, 10)
    outbox.ended("b", 1, "finished", None)
    assert await outbox.take(0, 10) == first
    number, entries = await outbox.take(first[0], 10)
    assert (number, entries[0][1]) == (2, "b")


@on_a_loop
async def test_an_asker_that_is_gone_takes_nothing_away(outbox):
    gone = asyncio.create_task(outbox.take(0, 10))
    asker = asyncio.create_task(outbox.take(0, 10))
    await asyncio.sleep(0)
    outbox.ended("a", 1, "finished", None)
    assert await gone == await asker
    assert (await asker)[1][0][1] == "a"


@on_a_loop
async def test_nothing_to_say_is_an_empty_batch_with_the_old_number(outbox):
    assert await outbox.take(0, 0.001) == (0, [])
    outbox.ended("a", 1, "finished", None)
    assert (await outbox.take(0, 10))[0] == 1
    assert await outbox.take(1, 0.001) == (1, [])


@on_a_loop
async def test_results_nobody_waits_for_are_not_held_back_for_long(outbox):
    asker = asyncio.create_task(outbox.take(0, 10))
    outbox.results("a", 1, 1, [b"1"], False)
    assert len((await asker)[1]) == 1


@on_a_loop
async def test_a_slow_driver_fills_it_and_empties_it(outbox):
    resumed = []
    outbox.results("a", 1, 1, [b"x" * (1 << 20)] * 9, False)
    assert outbox.full
    outbox.when_room(lambda: resumed.append(True))
    await outbox.take(0, 10)
    assert not outbox.full
    assert resumed == [True]


@on_a_loop
async def test_it_is_full_of_many_small_results_too(outbox):
    seq = 1
    while not outbox.full:
        outbox.results("a", 1, seq, [b"1"] * 100, False)
        seq += 100
    assert seq < 10_000
    room = asyncio.Event()
    outbox.when_room(room.set)
    await outbox.take(0, 10)
    await asyncio.wait_for(room.wait(), 10)
    assert not outbox.full


@on_a_loop
async def test_who_saves_hears_when_the_driver_knows(outbox):
    known = []
    outbox.checkpoint_saved("a", 1, "a/1", b"{}", lambda: known.append(1))
    number, _ = await outbox.take(0, 10)
    outbox.checkpoint_saved("a", 1, "a/2", b"{}", lambda: known.append(2))
    assert known == []
    await outbox.take(0, 10)  # the answer got lost
    assert known == []
    await outbox.take(number, 10)
    assert known == [1]
