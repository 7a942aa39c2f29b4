"""Reports on their way from a node to the driver: collected in batches, acknowledged, never lost.

The driver asks a node for what has happened (a long poll) and with the next question acknowledges
the answer before. An answer that got lost is given again, so each entry arrives exactly once and in
order. A driver that is behind does not ask: then this outbox fills up, the agent reads no more
from its trials, and they wait. A trial goes on from a checkpoint when the driver knows of that, so
that none gets far ahead of the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

#: How long a report that nobody waits for may be held back, to travel with others.
COALESCE_S = 0.02
_SEND_BYTES = 1 << 18
_FULL_BYTES = 1 << 23
#: Results that may wait here: so many at most are lost with a driver that is behind.
_FULL_RESULTS = 5000

STARTED = "started"
RESULTS = "results"
CHECKPOINT_BEGUN = "checkpoint begun"
CHECKPOINT_SAVED = "checkpoint saved"
CHECKPOINT_FAILED = "checkpoint failed"
ENDED = "ended"
OUTPUT = "output"
LOGGED = "logged"
#: Storage does not answer this node, or does again.
STORAGE = "storage"
#: What others hold of this node.
LOAD = "load"
#: What people should know about this node.
NOTE = "note"
#: Questions to the driver: to fetch a checkpoint, to bring one.
KEEP = "keep"
WANT = "want"

#: What travels: a tuple of a kind (see above), trial id, attempt, and what the kind needs.
Entry = tuple[Any, ...]


class Outbox:
    """What one node has to say about one experiment. Belongs to the event loop of the node."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: list[Entry] = []
        self._bytes = 0
        self._results = 0
        #: Called when the batch that is put together, or on its way, has arrived.
        self._arrived: list[Callable[[], None]] = []
        self._sent_arrived: list[Callable[[], None]] = []
        self._sent: list[Entry] = []
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

    def started(self, trial_id: str, attempt: int, pid: int, hostname: str, node_ip: str) -> None:
        """The trial process runs."""
        self._put((STARTED, trial_id, attempt, pid, hostname, node_ip))

    def results(
        self, trial_id: str, attempt: int, first_seq: int, reports: list[bytes], awaiting: bool
    ) -> None:
        """Consecutive results, as the trial wrote them."""
        self._bytes += sum(map(len, reports))
        self._results += len(reports)
        last = self._pending[-1] if self._pending else None
        if last is not None and last[:3] == (RESULTS, trial_id, attempt) and not last[5]:
            self._pending[-1] = (*last[:4], last[4] + reports, awaiting)
        else:
            self._pending.append((RESULTS, trial_id, attempt, first_seq, reports, awaiting))
        if awaiting or self._bytes >= _SEND_BYTES or self.full:
            self._ready.set()
        else:
            self._send_soon()

    def saving(self, trial_id: str, attempt: int, iteration: int) -> None:
        """A checkpoint is being written; it belongs to the result of this iteration."""
        self._pending.append((CHECKPOINT_BEGUN, trial_id, attempt, iteration))
        self._send_soon()

    def checkpoint_saved(
        self,
        trial_id: str,
        attempt: int,
        path: str,
        line: bytes,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """A checkpoint is complete in storage.

        Args:
            trial_id: Its trial.
            attempt: The attempt that wrote it.
            path: See `TrialCheckpoint.path`.
            line: The result that it belongs to.
            arrived: Called once the driver knows.
        """
        self._bytes += len(line)
        self._arrived.append(arrived)
        self._put((CHECKPOINT_SAVED, trial_id, attempt, path, line))

    def checkpoint_failed(self, trial_id: str, attempt: int, path: str, reason: str) -> None:
        """A checkpoint will never be complete in storage."""
        self._pending.append((CHECKPOINT_FAILED, trial_id, attempt, path, reason))
        self._send_soon()

    def ended(
        self,
        trial_id: str,
        attempt: int,
        outcome: str,
        error: bytes | None,
        uploading: Sequence[str] = (),
    ) -> None:
        """The attempt is over.

        Args:
            trial_id: Its trial.
            attempt: Its number.
            outcome: How it ended.
            error: A pickled `AttemptError`.
            uploading: Its checkpoints whose `checkpoint_saved` or `checkpoint_failed` follows.
        """
        self._put((ENDED, trial_id, attempt, outcome, error, tuple(uploading)))

    def output(
        self,
        trial_id: str,
        attempt: int,
        pid: int,
        stderr: bool,
        lines: list[str],
        left_out: int,
        path: str,
    ) -> None:
        """What an attempt has printed; arguments as of `TrialOutput`."""
        self._pending.append((OUTPUT, trial_id, attempt, pid, stderr, lines, left_out, path))
        self._bytes += sum(map(len, lines))
        self._send_soon()

    def logged(self, trial_id: str, attempt: int, line: bytes) -> None:
        """A line for the log of an attempt, see `TrialLog`."""
        self._pending.append((LOGGED, trial_id, attempt, line))
        self._bytes += len(line)
        self._send_soon()

    def storage(self, problem: str) -> None:
        """Storage does not answer this node; "" once it does again."""
        self._put((STORAGE, "", 0, problem))

    def load(self, held: dict[str, float], obstacle: str) -> None:
        """What others hold of this node now, see `WorkerLoad`."""
        self._put((LOAD, "", 0, held, obstacle))

    def note(self, text: str) -> None:
        """Something that people should know about this node."""
        self._put((NOTE, "", 0, text))

    def ask(self, question: str, path: str, to: str = "") -> None:
        """Ask the driver about a checkpoint; its answer comes another way.

        Args:
            question: `KEEP` or `WANT`.
            path: The checkpoint, see `TrialCheckpoint.path`.
            to: Where it is wanted, relative to the node's directory of the experiment.
        """
        self._put((question, "", 0, path, to))

    def _put(self, entry: Entry) -> None:
        self._pending.append(entry)
        self._ready.set()

    def _send_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(COALESCE_S, self._ready.set)

    def wake(self) -> None:
        """Answer the driver now, even with nothing."""
        self._ready.set()

    async def take(self, acknowledged: int, patience: float) -> tuple[int, list[Entry]]:
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
