"""The threads in which loggers run, so that a slow disk never delays a decision."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prefect_tune.callback import Callback, callback_error, overrides
from prefect_tune.coordinator.commands import Notice
from prefect_tune.coordinator.trial import Trial
from prefect_tune.error import TuneError
from prefect_tune.logger.base import LoggerCallback

log = logging.getLogger(__name__)

_FLUSH_EVERY_S = 1.0
_MAX_PENDING = 20_000
_COMPLAIN_AFTER_S = 10.0


class LogRecord(NamedTuple):
    """Something to log about one trial.

    Attributes:
        notice: What happened.
        trial: The trial.
        results: For `TRIAL_RESULT`, one or more consecutive results of one attempt.
        lines: The same results as the trial wrote them; empty if not known.
    """

    notice: Notice
    trial: Trial
    results: Sequence[dict[str, Any]] = ()
    lines: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class _Batch:
    records: Sequence[LogRecord]
    iteration: int
    trials: list[Trial]
    weight: int


@dataclass(frozen=True, slots=True)
class _Call:
    hook: str
    arguments: dict[str, Any]
    weight: int = 1


class _Lane:
    """One thread, its queue and the loggers it owns."""

    def __init__(self, loggers: Sequence[LoggerCallback], limit: int, *, lossy: bool) -> None:
        self.names = ", ".join(type(logger).__name__ for logger in loggers)
        self.error: TuneError | None = None
        self._loggers = list(loggers)
        self._limit = limit
        self._lossy = lossy
        self._left_out = 0
        self._queue: deque[_Batch | _Call] = deque()
        self._pending = 0  # weight of what is queued or in work
        self._flush_wanted = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._run, name=f"log-{loggers[0].__class__.__name__}", daemon=True
        )
        self._thread.start()

    def put(self, item: _Batch | _Call) -> None:
        """Queue an item; waits while the queue is full, unless results may be left out."""
        with self._changed:
            if self._pending > self._limit:
                if not self._lossy:
                    self._wait_for_room()
                elif isinstance(item, _Batch):
                    item = self._thinned(item)
            self._queue.append(item)
            self._pending += item.weight
            self._changed.notify_all()

    def _wait_for_room(self) -> None:
        while not self._changed.wait_for(lambda: self._pending <= self._limit, _COMPLAIN_AFTER_S):
            log.warning(
                "%s: the experiment waits for %d results to be written.", self.names, self._pending
            )

    def request_flush(self) -> None:
        """Have everything queued so far written out."""
        with self._changed:
            self._flush_wanted = True
            self._changed.notify_all()

    def wait_flushed(self, timeout: float) -> bool:
        """Wait until `request_flush` is fulfilled; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._flush_wanted, timeout)

    def close(self, last: _Call) -> None:
        """End the thread after what is queued and one last call, which does not wait for room."""
        with self._changed:
            self._queue.append(last)
            self._pending += last.weight
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False if it took too long."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def pending(self) -> int:
        """Number of results and other notices not yet written."""
        return self._pending

    def _thinned(self, batch: _Batch) -> _Batch:
        """Keep the last of several results, so that memory stays bounded; called with the lock."""
        if not self._left_out:
            log.warning(
                "%s cannot keep up with the results; it gets only some of them.", self.names
            )
        records = [
            record._replace(results=record.results[-1:], lines=record.lines[-1:])
            for record in batch.records
            if record.notice is not Notice.TRIAL_RESULT or self._pending <= 2 * self._limit
        ]
        weight = _weight(records)
        self._left_out += batch.weight - weight
        return _Batch(records, batch.iteration, batch.trials, weight)

    def _run(self) -> None:
        next_flush = time.monotonic() + _FLUSH_EVERY_S
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._flush_wanted or self._closing,
                    max(0.0, next_flush - time.monotonic()),
                )
                item = self._queue.popleft() if self._queue else None
                flush_asked = item is None and self._flush_wanted
                ending = item is None and self._closing
            if item is not None:
                self._process(item)
            if flush_asked or ending or time.monotonic() >= next_flush:
                self._each("flush", lambda logger: logger.flush())
                next_flush = time.monotonic() + _FLUSH_EVERY_S
            with self._changed:
                if item is not None:
                    self._pending -= item.weight
                if flush_asked and not self._queue:
                    self._flush_wanted = False
                self._changed.notify_all()
            if ending:
                if self._left_out:
                    log.warning("%s: %d results were left out.", self.names, self._left_out)
                return

    def _process(self, item: _Batch | _Call) -> None:
        if isinstance(item, _Call):
            call = item
            self._each(call.hook, lambda logger: getattr(logger, call.hook)(**call.arguments))
            return
        batch = item
        for record in batch.records:
            self._each(
                f"on_{record.notice}",
                lambda logger, record=record: _tell(logger, batch, record),  # type: ignore[misc]
            )

    def _each(self, hook: str, action: Callable[[LoggerCallback], None]) -> None:
        for logger in tuple(self._loggers):
            try:
                action(logger)
            except BaseException as error:
                # Even sys.exit() in a logger must not end the thread that others rely on. The one
                # that failed would most likely fail again at each result.
                self._loggers.remove(logger)
                if self.error is None:
                    self.error = callback_error(logger, hook, error)
                else:
                    log.error("%s", callback_error(logger, hook, error), exc_info=error)


def _tell(logger: LoggerCallback, batch: _Batch, record: LogRecord) -> None:
    iteration, trials, trial = batch.iteration, batch.trials, record.trial
    match record.notice:
        case Notice.TRIAL_RESULT if _logs_batches(logger):
            logger.log_trial_results(iteration, trial, record.results, record.lines)
        case Notice.TRIAL_RESULT:
            for result in record.results:
                logger.on_trial_result(iteration, trials, trial, dict(result))
        case _:
            getattr(logger, f"on_{record.notice}")(iteration, trials, trial)


def _logs_batches(logger: LoggerCallback) -> bool:
    return type(logger).on_trial_result is LoggerCallback.on_trial_result


def _weight(records: Sequence[LogRecord]) -> int:
    return sum(len(record.results) or 1 for record in records)


class LoggerThread:
    """Owns all loggers of an experiment and feeds them from a bounded queue.

    Loggers with `own_thread` get a thread each; all others share one and are called in list order.
    A logger that raises is not called again; `error` then holds why.

    Args:
        loggers: The loggers; may be empty.
        max_pending: Results that may wait before `submit` blocks. A logger with `own_thread` never
            blocks it: intermediate results are left out instead.
    """

    def __init__(
        self, loggers: Sequence[LoggerCallback], *, max_pending: int = _MAX_PENDING
    ) -> None:
        self._loggers = list(loggers)
        self._max_pending = max_pending
        self._lanes: list[_Lane] = []
        self._closed = False

    def setup(self, **info: Any) -> None:
        """Call `setup` of all loggers, in the calling thread, and start.

        Args:
            info: As for `Callback.setup`.

        Raises:
            TuneError: If a logger raises.
        """
        for logger in self._loggers:
            try:
                logger.setup(**info)
            except Exception as error:
                raise callback_error(logger, "setup", error) from error
        together = [logger for logger in self._loggers if not logger.own_thread]
        if together:
            self._lanes.append(_Lane(together, self._max_pending, lossy=False))
        for logger in self._loggers:
            if logger.own_thread:
                self._lanes.append(_Lane([logger], self._max_pending, lossy=True))

    @property
    def error(self) -> TuneError | None:
        """The first failure of a logger, naming it, with the exception as cause; else None."""
        return next((lane.error for lane in self._lanes if lane.error is not None), None)

    def submit(
        self, records: Sequence[LogRecord], *, iteration: int = 0, trials: list[Trial] | None = None
    ) -> None:
        """Queue what happened, in order; waits while too much is queued (back-pressure).

        Args:
            records: What happened.
            iteration: Round of the experiment's loop.
            trials: All trials, for loggers that override the `on_*` hooks; not copied.
        """
        if not records:
            return
        batch = _Batch(records, iteration, [] if trials is None else trials, _weight(records))
        for lane in self._lanes:
            lane.put(batch)

    def post(self, hook: str, **arguments: Any) -> None:
        """Queue a call of another hook, such as `on_checkpoint` or `on_step_end`.

        Costs nothing if no logger overrides it.
        """
        if any(overrides(logger, hook) for logger in self._loggers):
            for lane in self._lanes:
                lane.put(_Call(hook, arguments))

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything submitted is written.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if it was not done in time; a warning then says which loggers are slow.
        """
        for lane in self._lanes:
            lane.request_flush()
        deadline = time.monotonic() + timeout
        done = True
        for lane in self._lanes:
            if not lane.wait_flushed(max(0.0, deadline - time.monotonic())):
                self._complain(lane, timeout)
                done = False
        return done

    def close(self, trials: list[Trial] | None = None, timeout: float = 60.0) -> bool:
        """Write everything, call `on_experiment_end` and end the threads; once.

        Args:
            trials: All trials.
            timeout: Seconds to wait at most.

        Returns:
            False if a logger was not done in time; a warning then says which.
        """
        if self._closed:
            return True
        self._closed = True
        ending = {"trials": [] if trials is None else trials}
        for lane in self._lanes:
            lane.close(_Call("on_experiment_end", ending))
        deadline = time.monotonic() + timeout
        done = True
        for lane in self._lanes:
            if not lane.join(max(0.0, deadline - time.monotonic())):
                self._complain(lane, timeout)
                done = False
        return done

    def _complain(self, lane: _Lane, timeout: float) -> None:
        log.warning(
            "Not all results are written after %.0f s: %s still has %d of them to write.",
            timeout,
            lane.names,
            lane.pending,
        )


def split_callbacks(
    callbacks: Sequence[Callback],
) -> tuple[list[Callback], list[LoggerCallback]]:
    """Separate the callbacks that run with the decisions from the loggers that run behind them."""
    loggers = [callback for callback in callbacks if isinstance(callback, LoggerCallback)]
    others = [callback for callback in callbacks if not isinstance(callback, LoggerCallback)]
    return others, loggers
