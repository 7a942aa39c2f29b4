"""Events arrive in order, and an error does not overtake them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.callback import Callback
from prefect_tune.config import TuneConfig
from prefect_tune.coordinator.events import Control, ControlReceived, ResultReported, Tick
from prefect_tune.engine.queues import NOTICE_LIMIT, Inbox, NoticeQueue
from prefect_tune.error import ClusterError
from tests.engine.resume.test_resume import records_of

from .inline_executor import InlineExecutor, experiment, run


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


ONE = TuneConfig(num_samples=1)


def test_work_is_done_in_order_and_then_the_problem_is_raised():
    queue, done = NoticeQueue(), list[int]()
    for number in range(5):
        queue.put(lambda number=number: done.append(number), 1)
    queue.close(ZeroDivisionError("later"))
    with pytest.raises(ZeroDivisionError, match="later"):
        queue.serve()
    assert done == [0, 1, 2, 3, 4]


def test_there_is_room_again_once_enough_is_done():
    queue, go = NoticeQueue(limit=3), threading.Event()
    assert queue.has_room(0)
    queue.put(go.wait, 2)
    queue.put(lambda: None, 2)
    assert not queue.has_room(0)
    server = threading.Thread(target=queue.serve)
    server.start()
    assert not queue.has_room(0)  # what is being done counts
    go.set()
    assert queue.has_room(60)
    queue.close()
    server.join(60)


class Blocked(Callback):
    """Holds the first result until everything that can happen meanwhile has happened."""

    def __init__(self, path: Path, expected: int) -> None:
        self.path, self.expected = path, expected
        self.journaled = 0
        self.told: list[int] = []
        self.thread: threading.Thread | None = None

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any):
        if not self.told:
            self.thread = threading.current_thread()
            deadline = threading.Event()
            while self.journaled < self.expected and not deadline.wait(0.01):
                self.journaled = sum(b"ResultReported" in r for r in records_of(self.path))
        self.told.append(result["training_iteration"])


def test_the_journal_does_not_wait_for_a_callback(tmp_path):
    """Or else this never ends: the callback waits for the journal."""
    blocked = Blocked(tmp_path / "e", expected=50)
    run(experiment(tmp_path, InlineExecutor(reports=50), ONE, callbacks=[blocked]))
    assert blocked.told == list(range(1, 51))
    assert blocked.thread is threading.current_thread()


def test_no_more_is_taken_while_too_much_waits(tmp_path):
    """Results that come one by one: a callback that blocks lets only so many in."""
    seen: list[int] = []

    class Slow(Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            if len(seen) < 3:
                threading.Event().wait(0.3)
            seen.append(one.inbox.full)

    executor = InlineExecutor(reports=0)
    many = 4 * NOTICE_LIMIT

    def flood(launch: Any) -> None:
        def emit() -> None:
            for seq in range(1, many + 1):
                result = {"training_iteration": seq, "loss": 1.0}
                executor.emit(ResultReported(1.0, launch.trial_id, 1, seq, (result,), False))

        emit()

    executor.before_launch = flood
    one = experiment(tmp_path, executor, ONE, callbacks=[Slow()])
    run(one)
    assert one.trials[0].results_seen == many
    assert seen[0], "the inbox was emptied although nobody had been told"
    assert len(seen) == many
