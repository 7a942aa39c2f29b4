"""Events arrive in order, and an error does not overtake them."""

from __future__ import annotations

import pytest

from prefect_tune.coordinator.events import Control, ControlReceived, ResultReported, Tick
from prefect_tune.engine.inbox import Inbox
from prefect_tune.error import ClusterError


def test_what_came_before_an_error_is_not_lost():
    inbox = Inbox()
    inbox.put(Tick(1.0))
    inbox.put(Tick(2.0))
    inbox.fail(ClusterError("the scheduler is gone"))
    inbox.put(Tick(3.0))
    assert inbox.next_batch(0) == [Tick(1.0), Tick(2.0)]
    with pytest.raises(ClusterError):
        inbox.next_batch(0)
    assert inbox.next_batch(0) == [Tick(3.0)]


def results(count: int) -> ResultReported:
    return ResultReported(1.0, "t", 1, 1, tuple({"x": i} for i in range(count)), False)


def test_it_is_full_of_results_until_they_are_taken():
    inbox, resumed = Inbox(limit=10), []
    inbox.put(results(9))
    assert not inbox.full
    inbox.put(results(5))
    assert inbox.full
    inbox.when_room(lambda: resumed.append(1))
    assert resumed == []
    assert [len(event.results) for event in inbox.next_batch(0, limit=5)] == [9]
    assert (inbox.full, resumed) == (False, [1])
    inbox.when_room(lambda: resumed.append(2))
    assert resumed == [1, 2]


def test_what_somebody_asks_for_does_not_wait_behind_results():
    inbox = Inbox(limit=10)
    inbox.put(results(20))
    stop = ControlReceived(1.0, Control.INTERRUPT, reason="SIGINT")
    inbox.put(stop)
    assert inbox.pop_control_events() == [stop]
    assert len(inbox.next_batch(0)) == 1
    inbox.put(stop)
    assert inbox.next_batch(60) == [stop]
    assert inbox.next_batch(0) == []
