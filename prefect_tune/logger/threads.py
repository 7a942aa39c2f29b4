"""The threads in which loggers run, so that a slow disk never delays a decision."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.callback import HOOKS, Callback, CallbackFailures, name_callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback, takes_batches
from prefect_tune.logger.thread import Batch, HookCall, LoggerThread, LogRecord, Mark

__all__ = ["Backlog", "LogRecord", "LoggerThreads", "split_callbacks"]

log = logging.getLogger(__name__)

_MAX_PENDING = 20_000
#: The hooks in which loggers are told all trials, but for the one that each of them hears.
_HEARD = HOOKS - {"setup", "on_experiment_end"}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Results of one trial that one logger has not got."""

    logger: LoggerCallback
    trial: Trial
    results: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Log them."""
        self.logger.log_trial_results(0, self.trial, self.results)
        self.logger.log_trial_end(self.trial)


class LoggerThreads:
    """Owns all loggers of an experiment and feeds them from bounded queues.

    Loggers with `own_thread` get a thread each; all others share one and are called in list order.
    What a logger of the shared thread adds to a result, the loggers behind it in the list get, too.
    A logger that raises is not called again; `error` then holds why. With `log_errors`, it is.

    Args:
        loggers: The loggers; may be empty.
        max_pending: Results that may wait before `submit` blocks. A logger with `own_thread` never
            blocks it: intermediate results are left out instead.
        log_errors: Log what loggers raise, and go on calling them; `error` stays None.
    """

    def __init__(
        self,
        loggers: Sequence[LoggerCallback],
        *,
        max_pending: int = _MAX_PENDING,
        log_errors: bool = False,
    ) -> None:
        self._loggers = list(loggers)
        self._log_errors = log_errors
        self._max_pending = max_pending
        #: Those that follow another one come behind it.
        self._threads: list[LoggerThread] = []
        self._first: list[LoggerThread] = []
        self._closed = False

    def setup(self, backlog: Sequence[Backlog] = (), /, **info: Any) -> None:
        """Call `setup` of all loggers, in the calling thread, log what is overdue, and start.

        Args:
            backlog: Results of an earlier process that did not get to a logger.
            info: As for `Callback.setup`.

        Raises:
            Exception: What a logger raises, with a note that names it, if `log_errors` is false.
        """
        failures = CallbackFailures()
        for logger in self._loggers:
            try:
                logger.setup(**info)
            except Exception as error:
                if not self._log_errors:
                    name_callback(logger, "setup", error)
                    raise
                failures.log(logger, "setup", error)
        for overdue in backlog:
            try:
                overdue.write()
            except Exception as error:
                if not self._log_errors:
                    name_callback(overdue.logger, "log_trial_results", error)
                    raise
                failures.log(overdue.logger, "log_trial_results", error)
        failures.summarise()
        self._start()

    def _start(self) -> None:
        followers: list[LoggerThread] = []
        may_add = False
        for logger in self._loggers:
            if logger.own_thread:
                thread = self._thread([logger], lossy=True)
                (followers if may_add else self._first).append(thread)
            else:
                may_add = may_add or not takes_batches(logger)
        together = [logger for logger in self._loggers if not logger.own_thread]
        if together:
            self._first.append(self._thread(together, lossy=False, followers=followers))
        self._threads = [*self._first, *followers]

    def _thread(
        self,
        loggers: Sequence[LoggerCallback],
        *,
        lossy: bool,
        followers: Sequence[LoggerThread] = (),
    ) -> LoggerThread:
        return LoggerThread(
            loggers,
            self._max_pending,
            lossy=lossy,
            log_errors=self._log_errors,
            followers=followers,
        )

    @property
    def error(self) -> Exception | None:
        """The first failure of a logger, with a note that names it; else None."""
        return next((t.error for t in self._threads if t.error is not None), None)

    @property
    def wants_trials(self) -> bool:
        """True if a logger overrides an ``on_*`` hook, which is told all trials."""
        return any(
            getattr(type(logger), hook) is not getattr(LoggerCallback, hook)
            for logger in self._loggers
            for hook in _HEARD
        )

    @property
    def hears_of_checkpoints(self) -> bool:
        """True if a logger does something when a checkpoint is complete."""
        return any(
            _does(logger, hook)
            for logger in self._loggers
            for hook in ("on_checkpoint", "on_trial_save")
        )

    def submit(
        self, records: Sequence[LogRecord], *, iteration: int = 0, trials: list[Trial] | None = None
    ) -> None:
        """Queue what happened, in order; waits while too much is queued (back-pressure).

        Args:
            records: What happened; not to be changed any more.
            iteration: Round of the experiment's loop.
            trials: All trials; needed if `wants_trials`. Not copied.
        """
        if not records:
            return
        batch = Batch.of(records, iteration, [] if trials is None else trials)
        for thread in self._first:
            thread.put(batch)

    def post(self, hook: str, **arguments: Any) -> None:
        """Queue a call of another hook, such as `on_checkpoint` or `on_step_end`.

        Costs nothing if no logger overrides it.
        """
        if any(_does(logger, hook) for logger in self._loggers):
            for thread in self._first:
                thread.put(HookCall(hook, arguments))

    def mark(self, visit: Callable[[LoggerCallback], None]) -> Callable[[], bool]:
        """Have everything submitted so far written out, without waiting for it.

        Args:
            visit: Called then with each logger, in the logger's thread.

        Returns:
            A function that is True once that is done.
        """
        mark = Mark(visit)
        for thread in self._first:
            thread.put(mark)
        return lambda: len(mark.reached) == len(self._threads)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything submitted is written.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if it was not done in time; a warning then says which loggers are slow.
        """
        return self._wait_for_all(LoggerThread.request_flush, LoggerThread.wait_flushed, timeout)

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
        last = HookCall("on_experiment_end", {"trials": [] if trials is None else trials})

        def end(thread: LoggerThread) -> None:
            # Threads that follow others get it from those.
            thread.close(last if thread in self._first else None)

        return self._wait_for_all(end, LoggerThread.join, timeout)

    def _wait_for_all(
        self,
        ask: Callable[[LoggerThread], None],
        wait: Callable[[LoggerThread, float], bool],
        timeout: float,
    ) -> bool:
        """Ask something of all threads and wait until it is done; warns of those that are slow."""
        deadline = time.monotonic() + timeout
        for thread in self._first:
            ask(thread)
        done = True
        for thread in self._threads:
            if thread not in self._first:  # by now it has everything from the one it follows
                ask(thread)
            if not wait(thread, max(0.0, deadline - time.monotonic())):
                done = False
                log.warning(
                    "Not all results are written after %.0f s: %s still has %d of them to write.",
                    timeout,
                    thread.names,
                    thread.pending,
                )
        return done


def _does(logger: LoggerCallback, hook: str) -> bool:
    """Return True if the logger does something in a hook, itself or by a `log_trial_*` method."""
    for name in (hook, hook.replace("on_trial_", "log_trial_")):
        found = getattr(logger, name, None)
        if getattr(found, "__func__", found) is not getattr(LoggerCallback, name, None):
            return True
    return False


def split_callbacks(
    callbacks: Sequence[Callback],
) -> tuple[list[Callback], list[LoggerCallback]]:
    """Separate the callbacks that run with the decisions from the loggers that run behind them."""
    others = [callback for callback in callbacks if not isinstance(callback, LoggerCallback)]
    return others, [callback for callback in callbacks if isinstance(callback, LoggerCallback)]
