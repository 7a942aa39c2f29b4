"""Decides which events are recorded in the journal, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect_tune.coordinator.commands import Record
from prefect_tune.coordinator.events import Event, ResultReported, Tick

#: Seconds between two recorded ticks while nothing else is recorded.
_HEARTBEAT_S = 10.0


class Recorder:
    """Emits the `Record` commands of a coordinator.

    Of the ticks only the last one before each other record is written: with that, a stopper with a
    wall clock has the same state at this record of a replay.

    Args:
        emit: Called with each command.

    Attributes:
        muted: True writes nothing, as in a replay, whose events are in the journal already.
    """

    def __init__(self, emit: Callable[[Record], None]) -> None:
        self._emit = emit
        self._tick: Tick | None = None
        self._behind: list[Event] = []
        self._last_time: float | None = None
        self.muted = False

    def record(self, event: Event) -> None:
        """Record an event, with the last tick before it."""
        if self.muted:
            return
        if self._tick is not None:
            self._write(self._tick)
            self._tick = None
        self._write(event)

    def record_behind(self, event: Event) -> None:
        """Record an event behind the one that is being handled, which has caused it."""
        if not self.muted:
            self._behind.append(event)

    def flush(self) -> None:
        """Record the events of `record_behind`, after the current event has been handled."""
        if self._behind:
            for event in self._behind:
                self.record(event)
            self._behind.clear()

    def results(self, event: ResultReported, begin: int, end: int, stop: bool) -> None:
        """Record those results of a report that count.

        Args:
            event: The report.
            begin: Index of the first result that counts.
            end: Index behind the last result that counts.
            stop: Whether the last one ended the trial.
        """
        if self.muted:
            return
        if stop or end - begin < len(event.results):
            event = replace(
                event,
                first_seq=event.first_seq + begin,
                results=event.results[begin:end],
                lines=event.lines[begin:end],
                stop=stop,
            )
        self.record(event)

    def tick(self, event: Tick) -> None:
        """Record a tick now if the last record is old, else before the next record."""
        if self.muted:
            return
        if self._last_time is None or event.time - self._last_time >= _HEARTBEAT_S:
            self._tick = None
            self._write(event)
        else:
            self._tick = event

    def _write(self, event: Event) -> None:
        self._last_time = event.time
        self._emit(Record(event))
