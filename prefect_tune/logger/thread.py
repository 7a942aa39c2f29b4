"""`LoggerThread`: a thread with a queue that calls loggers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from prefect_tune.callback import CallbackFailures, callback_error
from prefect_tune.coordinator.commands import Notice
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback, accepts_batches

log = logging.getLogger(__name__)

_FLUSH_EVERY_S = 1.0
_COMPLAIN_AFTER_S = 10.0


class LogRecord(NamedTuple):
    """An event of one trial to be logged.

    Attributes:
        notice: The kind of event.
        trial: The trial.
        results: For `TRIAL_RESULT`, one or more consecutive results of one attempt; else empty.
        lines: The same results as the trial wrote them; empty if not known.
    """

    notice: Notice
    trial: Trial
    results: Sequence[dict[str, Any]] = ()
    lines: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one round of the experiment's loop; `trials` are all trials."""

    records: Sequence[LogRecord]
    iteration: int
    trials: list[Trial]
    weight: int

    @classmethod
    def of(cls, records: Sequence[LogRecord], iteration: int, trials: list[Trial]) -> Batch:
        """Make a batch whose weight is the number of results and other records."""
        return cls(records, iteration, trials, sum(len(record.results) or 1 for record in records))


@dataclass(frozen=True, slots=True)
class HookCall:
    """A call of a hook other than those for results and other events of trials."""

    hook: str
    arguments: dict[str, Any]
    weight: int = 1


@dataclass(frozen=True, slots=True)
class FlushMark:
    """An entry of the queue at which all earlier entries are flushed to files.

    Attributes:
        visit: Called with each logger after the flush, in the logger's thread.
        reached: Each thread appends an entry after it has processed the mark.
    """

    visit: Callable[[LoggerCallback], None]
    reached: list[str] = field(default_factory=list)
    weight: int = 0


_Work = Batch | HookCall | FlushMark


class LoggerThread:
    """A thread with a queue that calls some of the loggers.

    Args:
        loggers: At least one; called in order.
        limit: The most results in the queue.
        lossy: Beyond the limit, True leaves results out, False makes `put` wait.
        log_errors: Log exceptions of a logger and go on calling it.
        followers: Threads that get all entries of the queue from this thread, with the metrics that
            its loggers have added to results.
    """

    def __init__(
        self,
        loggers: Sequence[LoggerCallback],
        limit: int,
        *,
        lossy: bool,
        log_errors: bool = False,
        followers: Sequence[LoggerThread] = (),
    ) -> None:
        self.names = ", ".join(type(logger).__name__ for logger in loggers)
        self.error: Exception | None = None
        self._loggers = list(loggers)
        self._followers = followers
        self._limit = limit
        self._lossy = lossy
        self._failures = CallbackFailures() if log_errors else None
        self._left_out = 0
        self._queue: deque[_Work] = deque()
        self._pending = 0  # weight of what is queued or in work
        self._closing = False
        self._changed = threading.Condition()
        name = f"log-{type(loggers[0]).__name__}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of results and other records that are not yet written."""
        return self._pending

    def put(self, work: _Work) -> None:
        """Add an entry to the queue; if the queue is full, wait or leave results out."""
        with self._changed:
            if self._pending > self._limit:
                if not self._lossy:
                    self._wait_for_room()
                elif isinstance(work, Batch):
                    work = self._drop_results(work)
            self._queue.append(work)
            self._pending += work.weight
            self._changed.notify_all()

    def close(self, last: HookCall | None) -> None:
        """End the thread after all queued entries and a last call, which is queued at once."""
        with self._changed:
            if last is not None:
                self._queue.append(last)
                self._pending += last.weight
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False after `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _wait_for_room(self) -> None:
        while not self._changed.wait_for(lambda: self._pending <= self._limit, _COMPLAIN_AFTER_S):
            log.warning(
                "The experiment waits for %s to write %d results.", self.names, self._pending
            )

    def _drop_results(self, batch: Batch) -> Batch:
        """Return a batch with the last result of each record, far beyond the limit with none.

        The caller holds the lock.
        """
        if not self._left_out:
            log.warning(
                "%s cannot keep up with the results; it gets only some of them.", self.names
            )
        kept = Batch.of(
            [
                record._replace(results=record.results[-1:], lines=record.lines[-1:])
                for record in batch.records
                if record.notice is not Notice.TRIAL_RESULT or self._pending <= 2 * self._limit
            ],
            batch.iteration,
            batch.trials,
        )
        self._left_out += batch.weight - kept.weight
        return kept

    def _run(self) -> None:
        next_flush = time.monotonic() + _FLUSH_EVERY_S
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._closing,
                    max(0.0, next_flush - time.monotonic()),
                )
                work = self._queue.popleft() if self._queue else None
                ending = work is None and self._closing
            if work is not None:
                self._process(work)
            if ending or time.monotonic() >= next_flush:
                self._call_each("flush", lambda logger: logger.flush())
                next_flush = time.monotonic() + _FLUSH_EVERY_S
            with self._changed:
                if work is not None:
                    self._pending -= work.weight
                self._changed.notify_all()
            if ending:
                break
        if self._failures is not None:
            self._failures.summarise()
        if self._left_out:
            log.warning("%s: %d results were left out.", self.names, self._left_out)

    def _process(self, work: _Work) -> None:
        if isinstance(work, Batch):
            work = replace(work, records=[self._log(work, record) for record in work.records])
        elif isinstance(work, HookCall):
            hook, arguments = work.hook, work.arguments
            self._call_each(hook, lambda logger: getattr(logger, hook)(**arguments))
        else:
            self._call_each("flush", lambda logger: logger.flush())
            self._call_each("get_state", work.visit)
            work.reached.append(self.names)
        for follower in self._followers:
            follower.put(work)

    def _log(self, batch: Batch, record: LogRecord) -> LogRecord:
        """Call the loggers in order; each gets the metrics that earlier ones added to results."""

        def tell(logger: LoggerCallback) -> None:
            nonlocal record
            about = batch.iteration, batch.trials, record.trial
            if record.notice is not Notice.TRIAL_RESULT:
                getattr(logger, f"on_{record.notice}")(*about)
            elif accepts_batches(logger):
                logger.log_trial_results(
                    batch.iteration, record.trial, record.results, record.lines
                )
            else:
                copies = [dict(result) for result in record.results]
                try:
                    for copy in copies:
                        logger.on_trial_result(*about, copy)
                finally:
                    record = _with_added_metrics(record, copies)

        self._call_each(f"on_{record.notice}", tell)
        return record

    def _call_each(self, hook: str, action: Callable[[LoggerCallback], None]) -> None:
        for logger in tuple(self._loggers):
            try:
                action(logger)
            except BaseException as error:
                # Even sys.exit() in a logger must not end the thread that other loggers share.
                if self._failures is not None:
                    self._failures.log(logger, hook, error)
                    continue
                # A logger that failed would probably fail again at each result.
                self._loggers.remove(logger)
                failure = callback_error(logger, hook, error)
                if self.error is None:
                    self.error = failure
                else:
                    log.error("%s", failure, exc_info=error)


def _with_added_metrics(record: LogRecord, copies: Sequence[dict[str, Any]]) -> LogRecord:
    """Return a record with the metrics that a logger has added to or changed in its copies."""
    results = [one | copy for one, copy in zip(record.results, copies, strict=True)]
    try:
        same = results == record.results
    except Exception:  # arrays have no single truth value; users' classes may raise anything
        same = False
    # Nested values may have been changed in place, so that the lines of JSON are out of date.
    if same and all(line.rfind(b"{") == 0 and b"[" not in line for line in record.lines):
        return record
    return record._replace(results=results, lines=())
