from __future__ import annotations

import threading

from prefect_tune.storage.journal.background_worker import BackgroundWorker, Outage


class Counting(BackgroundWorker):
    def __init__(self, rounds: int, cancelled: threading.Event | None = None) -> None:
        super().__init__("counting", "all is counted", cancelled)
        self.left = rounds
        self.counted = 0

    def _work(self) -> None:
        while not self._must_end and self.left:
            with self._changed:
                self.left -= 1
                self.counted += 1
                self._changed.notify_all()

    def wait_for(self, count: int, idle_s: float, total_s: float | None = None) -> bool:
        with self._changed:
            return self._wait_until(lambda: self.counted >= count, idle_s, total_s)


def test_waiting_ends_when_it_is_done_or_the_thread_has_ended() -> None:
    worker = Counting(3)
    worker.start()
    assert worker.wait_for(3, 60)
    assert not worker.wait_for(4, 10**6)


def test_what_is_over_does_nothing() -> None:
    cancelled = threading.Event()
    cancelled.set()
    for worker in (Counting(3, cancelled), Counting(3)):
        worker.stop()
        worker.start()
        assert not worker.wait_for(1, 60)
        assert worker.counted == 0


def test_an_outage_is_told_once_each_way() -> None:
    outage = Outage()
    assert outage.end() is None
    assert [outage.begin(), outage.begin()] == [True, False]
    assert outage.lasts
    assert outage.end() is not None
    assert outage.end() is None
    assert outage.begin()


class Slow(Counting):
    """Gets something done every 50 ms."""

    def _work(self) -> None:
        while self.left and not self._must_end:
            self.left -= 1
            self._cancelled.wait(0.05)
            self.counted += 1
            self._note_progress()


def test_who_waits_has_patience_as_long_as_something_gets_done() -> None:
    worker = Slow(40)
    worker.start()
    assert worker.wait_for(40, idle_s=1.0)


def test_but_not_beyond_its_limit() -> None:
    cancelled = threading.Event()
    worker = Slow(10**6, cancelled)
    worker.start()
    assert not worker.wait_for(10**6, idle_s=60.0, total_s=0.3)
    cancelled.set()
