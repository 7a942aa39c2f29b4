"""Reports from a node to the driver, sent in acknowledged batches so that none is lost.

The driver asks a node for reports (a long poll), and acknowledges a batch with the next request.
A lost batch is sent again, so that each report arrives exactly once and
in order. A driver that is behind does not ask. Then the outbox fills up, the agent stops reading
from its trials, and they wait. A trial is resumed only from a checkpoint that the driver knows, so
that no trial gets far ahead of the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, get_args

from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.trainable.output import TrialLog, TrialOutput

#: Seconds for which a report that is not urgent may be delayed, to be sent with others.
COALESCE_S = 0.02
_SEND_BYTES = 1 << 18
_FULL_BYTES = 1 << 23
#: Results that may wait in the outbox, and so may be lost with a driver that is behind.
_FULL_RESULTS = 5000


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """Report that the process of an attempt starts user code."""

    key: AttemptKey
    pid: int
    hostname: str
    node_ip: str


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Report of consecutive results of an attempt.

    Attributes:
        key: Key of the attempt.
        first_seq: Number of the first result.
        results: The results as the trial encoded them.
        awaiting: True if the trial waits for a decision about the last result.
    """

    key: AttemptKey
    first_seq: int
    results: list[bytes]
    awaiting: bool


@dataclass(frozen=True, slots=True)
class CheckpointAnnounced:
    """Report that a checkpoint is being written for the result of an iteration."""

    key: AttemptKey
    iteration: int


@dataclass(frozen=True, slots=True)
class CheckpointUploaded:
    """Report that a checkpoint is complete in storage.

    Attributes:
        key: Key of the attempt that wrote the checkpoint.
        path: The checkpoint, see `TrialCheckpoint.path`.
        line: The checkpoint's result, as JSON.
    """

    key: AttemptKey
    path: str
    line: bytes


@dataclass(frozen=True, slots=True)
class UploadFailed:
    """Report that the upload of a checkpoint has failed, with the reason as text."""

    key: AttemptKey
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """Report that an attempt has ended.

    Attributes:
        key: Key of the attempt.
        outcome: How the attempt ended, an `Outcome`.
        error: A pickled `AttemptError`.
        uploading: Checkpoints whose `CheckpointUploaded` or `UploadFailed` follows.
    """

    key: AttemptKey
    outcome: str
    error: bytes | None = None
    uploading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyToDriver:
    """Request that the driver copies a checkpoint from this node; it answers by another call."""

    path: str


@dataclass(frozen=True, slots=True)
class CopyToNode:
    """Request that the driver copies a checkpoint to this node; it answers by another call.

    Attributes:
        path: The checkpoint, see `TrialCheckpoint.path`.
        to: Target path, relative to the experiment's directory on the node.
    """

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class StorageOutage:
    """Report that storage does not answer this node; `problem` is "" if it answers again."""

    problem: str


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """Report of what keeps an experiment's attempts from running on a worker.

    Attributes:
        held: Resources of the worker that other tasks hold, in units.
        obstacle: Why Dask starts no tasks there, as text; "" if it does.
    """

    held: dict[str, float] = field(default_factory=dict)
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class NodeWarning:
    """Report of a warning about this node for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeLeaving:
    """Report that this node is about to end, with the reason; its attempts checkpoint and end."""

    reason: str


CheckpointRequest = CopyToDriver | CopyToNode
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
    | NodeLeaving
    | TrialOutput
    | TrialLog
)
_KINDS: tuple[type[Any], ...] = get_args(Report)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_FIELDS = [attrgetter(*(f.name for f in fields(kind))) for kind in _KINDS]


def encode_reports(reports: Iterable[Report]) -> list[tuple[Any, ...]]:
    """Encode reports as tuples, which Dask sends several times faster than pickled objects."""
    return [(number := _NUMBERS[type(report)], _FIELDS[number](report)) for report in reports]


def decode_reports(encoded: Iterable[tuple[Any, ...]]) -> list[Report]:
    """Decode tuples of `encode_reports` into reports."""
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
    """Queue of one node's reports about one experiment; used in the node's event loop only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: list[Report] = []
        self._bytes = 0
        self._results = 0
        #: Called when the batch being collected has arrived; `_sent_arrived`: the one sent last.
        self._arrived: list[Callable[[], None]] = []
        self._sent_arrived: list[Callable[[], None]] = []
        self._sent: list[Report] = []
        self._number = 0
        self._ready = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_for_room: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """True if no reports should be added before the driver asks for some."""
        return self._bytes >= _FULL_BYTES or self._results >= _FULL_RESULTS

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once the outbox is no longer full."""
        self._waiting_for_room.append(resume)

    def put(
        self,
        report: Report,
        *,
        urgent: bool = True,
        nbytes: int = 0,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        """Add a report.

        Args:
            report: The report.
            urgent: True to send it now; else it may be delayed by `COALESCE_S`.
            nbytes: Size of the report in bytes, if it may be large.
            arrived: Called once the driver has acknowledged the report.
        """
        self._pending.append(report)
        self._bytes += nbytes
        if arrived is not None:
            self._arrived.append(arrived)
        self._send(urgent)

    def put_results(
        self, key: AttemptKey, first_seq: int, results: list[bytes], awaiting: bool
    ) -> None:
        """Add consecutive results; for the arguments see `ResultBatch`."""
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

    async def wait_delivered(self) -> None:
        """Wait until the driver has acknowledged all reports."""
        while self._pending or self._sent:
            arrived = asyncio.Event()
            (self._arrived if self._pending else self._sent_arrived).append(arrived.set)
            self._ready.set()
            await arrived.wait()

    def wake(self) -> None:
        """Answer the driver's request now, even with an empty batch."""
        self._ready.set()

    def _send(self, now: bool) -> None:
        if now:
            self._ready.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(COALESCE_S, self._ready.set)

    async def next_batch(self, acknowledged: int, patience: float) -> tuple[int, list[Report]]:
        """Return the next batch of reports and its number.

        Args:
            acknowledged: Number of the last batch that the driver has received; 0 before the first.
            patience: Seconds to wait for a report; then the batch is empty.
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
        if self._sent:  # an earlier request, whose sender is gone, was answered meanwhile
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
