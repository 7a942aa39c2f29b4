"""One logger thread: its queue, and the loggers it calls."""

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
from prefect_tune.logger.base import LoggerCallback, takes_batches

log = logging.getLogger(__name__)

_FLUSH_EVERY_S = 1.0
_COMPLAIN_AFTER_S = 10.0


class LogRecord(NamedTuple):
    """Something to log about one trial.

    Attributes:
        notice: What happened.
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
    """What is logged together: `records` at a round of the loop; `trials` are all trials."""

    records: Sequence[LogRecord]
    iteration: int
    trials: list[Trial]
    weight: int

    @classmethod
    def of(cls, records: Sequence[LogRecord], iteration: int, trials: list[Trial]) -> Batch:
        """Weigh the records: each result counts, and each other notice."""
        return cls(records, iteration, trials, sum(len(record.results) or 1 for record in records))


@dataclass(frozen=True, slots=True)
class HookCall:
    """Any other hook to call."""

    hook: str
    arguments: dict[str, Any]
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the queue: what is before it is to be written out.

    Attributes:
        visit: Called with each logger then, in the logger's thread.
        reached: Gets an entry from each thread that has come to it.
    """

    visit: Callable[[LoggerCallback], None]
    reached: list[str] = field(default_factory=list)
    weight: int = 0


_Work = Batch | HookCall | Mark


class LoggerThread:
    """One thread, its queue and the loggers it owns.

    Args:
        loggers: At least one; called in order.
        limit: Results that may be queued.
        lossy: What to do beyond the limit: leave results out (True) or have `put` wait.
        log_errors: Log what a logger raises and go on calling it.
        followers: Threads that get everything from this one, with what its loggers have added to
            results.
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
        self._flush_wanted = False
        self._closing = False
        self._changed = threading.Condition()
        name = f"log-{type(loggers[0]).__name__}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of results and other notices not yet written."""
        return self._pending

    def put(self, work: _Work) -> None:
        """Queue something; waits while the queue is full, unless results may be left out."""
        with self._changed:
            if self._pending > self._limit:
                if not self._lossy:
                    self._wait_for_room()
                elif isinstance(work, Batch):
                    work = self._thinned(work)
            self._queue.append(work)
            self._pending += work.weight
            self._changed.notify_all()

    def request_flush(self) -> None:
        """Have everything queued so far written out."""
        with self._changed:
            self._flush_wanted = True
            self._changed.notify_all()

    def wait_flushed(self, timeout: float) -> bool:
        """Wait until `request_flush` is fulfilled; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._flush_wanted, timeout)

    def close(self, last: HookCall | None) -> None:
        """End the thread after what is queued and one last call, which does not wait for room."""
        with self._changed:
            if last is not None:
                self._queue.append(last)
                self._pending += last.weight
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False if it took too long."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _wait_for_room(self) -> None:
        while not self._changed.wait_for(lambda: self._pending <= self._limit, _COMPLAIN_AFTER_S):
            log.warning(
                "The experiment waits for %s to write %d results.", self.names, self._pending
            )

    def _thinned(self, batch: Batch) -> Batch:
        """Keep the last of several results, far beyond the limit none; called with the lock."""
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
                    lambda: self._queue or self._flush_wanted or self._closing,
                    max(0.0, next_flush - time.monotonic()),
                )
                work = self._queue.popleft() if self._queue else None
                flush_asked = work is None and self._flush_wanted
                ending = work is None and self._closing
            if work is not None:
                self._process(work)
            if flush_asked or ending or time.monotonic() >= next_flush:
                self._each("flush", lambda logger: logger.flush())
                next_flush = time.monotonic() + _FLUSH_EVERY_S
            with self._changed:
                if work is not None:
                    self._pending -= work.weight
                if flush_asked and not self._queue:
                    self._flush_wanted = False
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
            self._each(hook, lambda logger: getattr(logger, hook)(**arguments))
        else:
            self._each("flush", lambda logger: logger.flush())
            self._each("get_state", work.visit)
            work.reached.append(self.names)
        for follower in self._followers:
            follower.put(work)

    def _log(self, batch: Batch, record: LogRecord) -> LogRecord:
        """Tell the loggers, in order: what one adds to a result, those behind it are told, too."""

        def tell(logger: LoggerCallback) -> None:
            nonlocal record
            about = batch.iteration, batch.trials, record.trial
            if record.notice is not Notice.TRIAL_RESULT:
                getattr(logger, f"on_{record.notice}")(*about)
            elif takes_batches(logger):
                logger.log_trial_results(
                    batch.iteration, record.trial, record.results, record.lines
                )
            else:
                copies = [dict(result) for result in record.results]
                try:
                    for copy in copies:
                        logger.on_trial_result(*about, copy)
                finally:
                    record = _with_additions(record, copies)

        self._each(f"on_{record.notice}", tell)
        return record

    def _each(self, hook: str, action: Callable[[LoggerCallback], None]) -> None:
        for logger in tuple(self._loggers):
            try:
                action(logger)
            except BaseException as error:
                # Even sys.exit() in a logger must not end the thread that others rely on.
                if self._failures is not None:
                    self._failures.log(logger, hook, error)
                    continue
                # The one that failed would most likely fail again at each result.
                self._loggers.remove(logger)
                failure = callback_error(logger, hook, error)
                if self.error is None:
                    self.error = failure
                else:
                    log.error("%s", failure, exc_info=error)


def _with_additions(record: LogRecord, left: Sequence[dict[str, Any]]) -> LogRecord:
    """A record of results as a logger has left its copies of them; what it has removed stays."""
    results = [one | copy for one, copy in zip(record.results, left, strict=True)]
    try:
        same = results == record.results
    except Exception:  # arrays cannot tell; other objects are users'
        same = False
    # What is nested may have been changed in place, which the JSON text does not show.
    if same and all(line.rfind(b"{") == 0 and b"[" not in line for line in record.lines):
        return record
    return record._replace(results=results, lines=())
