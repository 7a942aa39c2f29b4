"""What of all that happens is worth a record in the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect_tune.coordinator.commands import Record
from prefect_tune.coordinator.events import Event, ResultReported, Tick

#: While nothing else happens, the time is recorded as often as this, in seconds.
_HEARTBEAT_S = 10.0


class Recorder:
    """Emits `Record` commands.

    Of the ticks only the last one before each other record is written, which is all that a stopper
    with a wall clock needs to be in the same state at that record of a replay.

    Args:
        emit: Takes the commands.

    Attributes:
        muted: True writes nothing: what is replayed is in the journal already.
    """

    def __init__(self, emit: Callable[[Record], None]) -> None:
        self._emit = emit
        self._tick: Tick | None = None
        self._behind: list[Event] = []
        self._last_time: float | None = None
        self.muted = False

    def record(self, event: Event) -> None:
        """Write an event."""
        if self.muted:
            return
        if self._tick is not None:
            self._write(self._tick)
            self._tick = None
        self._write(event)

    def record_behind(self, event: Event) -> None:
        """Write an event behind the one that is being handled, of which it is a consequence."""
        if not self.muted:
            self._behind.append(event)

    def flush(self) -> None:
        """The event has been handled."""
        if self._behind:
            for event in self._behind:
                self.record(event)
            self._behind.clear()

    def results(self, event: ResultReported, begin: int, end: int, stop: bool) -> None:
        """Write the results that count, and no others.

        Args:
            event: What was reported.
            begin: Index of the first result that counts.
            end: Index behind the last one.
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
        """Note the time."""
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
