"""Reports on their way from a node to the driver: collected in batches, acknowledged, never lost.

The driver asks a node for what has happened (a long poll) and with the next question acknowledges
the answer before. An answer that got lost is given again, so each report arrives exactly once and
in order. A driver that is behind does not ask: then this outbox fills up, the agent reads no more
from its trials, and they wait. A trial goes on from a checkpoint when the driver knows of that, so
that none gets far ahead of the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, get_args

from prefect_tune.experiment.attempt_key import AttemptKey
from prefect_tune.trainable.output import TrialLog, TrialOutput

#: How long a report that nobody waits for may be held back, to travel with others.
COALESCE_S = 0.02
_SEND_BYTES = 1 << 18
_FULL_BYTES = 1 << 23
#: Results that may wait here: so many at most are lost with a driver that is behind.
_FULL_RESULTS = 5000


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """The process of an attempt runs user code."""

    key: AttemptKey
    pid: int
    hostname: str
    node_ip: str


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Consecutive results of an attempt.

    Attributes:
        key: The attempt.
        first_seq: Number of the first of them.
        results: The results as the trial encoded them.
        awaiting: Whether the trial waits for a decision about the last one.
    """

    key: AttemptKey
    first_seq: int
    results: list[bytes]
    awaiting: bool


@dataclass(frozen=True, slots=True)
class CheckpointAnnounced:
    """A checkpoint is being written; it belongs to the result of this iteration."""

    key: AttemptKey
    iteration: int


@dataclass(frozen=True, slots=True)
class CheckpointUploaded:
    """A checkpoint is complete in storage.

    Attributes:
        key: The attempt that wrote it.
        path: The checkpoint, see `TrialCheckpoint.path`.
        line: The result that it belongs to, a JSON text.
    """

    key: AttemptKey
    path: str
    line: bytes


@dataclass(frozen=True, slots=True)
class UploadFailed:
    """A checkpoint will never be complete in storage; `reason` is for people."""

    key: AttemptKey
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """An attempt is over.

    Attributes:
        key: The attempt.
        outcome: How it ended, an `Outcome`.
        error: A pickled `AttemptError`.
        uploading: Its checkpoints whose `CheckpointUploaded` or `UploadFailed` follows.
    """

    key: AttemptKey
    outcome: str
    error: bytes | None = None
    uploading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """The driver is to fetch a checkpoint; it answers by a call of its own."""

    path: str


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """The driver is to bring a checkpoint; it answers by a call of its own.

    Attributes:
        path: The checkpoint, see `TrialCheckpoint.path`.
        to: Where it is wanted, relative to the node's directory of the experiment.
    """

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class StorageOutage:
    """Storage does not answer this node, for this reason; "" once it does again."""

    problem: str


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What is not there for an experiment on a worker now.

    Attributes:
        held: What others hold of the worker's resources, in units.
        obstacle: Why Dask starts nothing there, for people; "" if it would.
    """

    held: dict[str, float] = field(default_factory=dict)
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class NodeWarning:
    """Something that people should know about this node."""

    text: str


CheckpointRequest = UploadRequest | DownloadRequest
Report = (
    ProcessStarted
    | ResultBatch
    | CheckpointAnnounced
    | CheckpointUploaded
    | UploadFailed
    | ProcessEnded
    | CheckpointRequest
    | StorageOutage
    | WorkerLoad
    | NodeWarning
    | TrialOutput
    | TrialLog
)
_KINDS: tuple[type[Any], ...] = get_args(Report)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_FIELDS = [attrgetter(*(f.name for f in fields(kind))) for kind in _KINDS]


def encode_reports(reports: Iterable[Report]) -> list[tuple[Any, ...]]:
    """Reports as plain tuples, which Dask sends several times faster than pickles of objects."""
    return [(number := _NUMBERS[type(report)], _FIELDS[number](report)) for report in reports]


def decode_reports(encoded: Iterable[tuple[Any, ...]]) -> list[Report]:
    """The inverse of `encode_reports`."""
    return [_DECODERS[number](values) for number, values in encoded]


def _decoder(kind: type[Any]) -> Callable[[Any], Any]:
    names = [f.name for f in fields(kind)]
    if len(names) == 1:
        return kind
    if names[0] == "key":
        return lambda values: kind(AttemptKey._make(values[0]), *values[1:])
    return lambda values: kind(*values)


_DECODERS = [_decoder(kind) for kind in _KINDS]


class Outbox:
    """What one node has to say about one experiment. Belongs to the event loop of the node."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: list[Report] = []
        self._bytes = 0
        self._results = 0
        #: Called when the batch that is put together, or on its way, has arrived.
        self._arrived: list[Callable[[], None]] = []
        self._sent_arrived: list[Callable[[], None]] = []
        self._sent: list[Report] = []
        self._number = 0
        self._ready = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_for_room: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """True if nothing more should be put in before the driver has asked."""
        return self._bytes >= _FULL_BYTES or self._results >= _FULL_RESULTS

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once it is no longer full."""
        self._waiting_for_room.append(resume)

    def put(
        self,
        report: Report,
        *,
        urgent: bool = True,
        nbytes: int = 0,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        """Report something.

        Args:
            report: What.
            urgent: Whether it is sent now; else it may be held back for `COALESCE_S`.
            nbytes: How large it is, if it may be large.
            arrived: Called once the driver knows.
        """
        self._pending.append(report)
        self._bytes += nbytes
        if arrived is not None:
            self._arrived.append(arrived)
        self._send(urgent)

    def put_results(
        self, key: AttemptKey, first_seq: int, results: list[bytes], awaiting: bool
    ) -> None:
        """Report consecutive results; arguments as of `ResultBatch`."""
        self._bytes += sum(map(len, results))
        self._results += len(results)
        last = self._pending[-1] if self._pending else None
        if isinstance(last, ResultBatch) and last.key == key and not last.awaiting:
            last.results.extend(results)
            if awaiting:
                self._pending[-1] = replace(last, awaiting=True)
        else:
            self._pending.append(ResultBatch(key, first_seq, results, awaiting))
        self._send(awaiting or self._bytes >= _SEND_BYTES or self.full)

    def wake(self) -> None:
        """Answer the driver now, even with nothing."""
        self._ready.set()

    def _send(self, now: bool) -> None:
        if now:
            self._ready.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(COALESCE_S, self._ready.set)

    async def next_batch(self, acknowledged: int, patience: float) -> tuple[int, list[Report]]:
        """The next batch and its number.

        Args:
            acknowledged: Number of the last batch that arrived; 0 before the first.
            patience: Seconds to wait for something to say; then the batch is empty.
        """
        if acknowledged == self._number:
            self._sent = []
            arrived, self._sent_arrived = self._sent_arrived, []
            for call in arrived:
                call()
        elif self._sent:
            return self._number, self._sent
        if not self._ready.is_set():
            try:
                await asyncio.wait_for(self._ready.wait(), patience)
            except TimeoutError:
                return self._number, []
        if self._sent:  # another question, whose asker is gone, was answered meanwhile
            return self._number, self._sent
        self._ready.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sent, self._pending, self._bytes, self._results = self._pending, [], 0, 0
        self._sent_arrived, self._arrived = self._arrived, []
        self._number += 1
        resumed, self._waiting_for_room = self._waiting_for_room, []
        for resume in resumed:
            resume()
        return self._number, self._sent
