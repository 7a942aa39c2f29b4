"""`LoggerThreads`: run all loggers in threads, so that a slow disk never delays a decision."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect_tune.callback import HOOKS, Callback, CallbackFailures, name_callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback, accepts_batches
from prefect_tune.logger.thread import Batch, FlushMark, HookCall, LoggerThread, LogRecord

__all__ = ["Backlog", "LogRecord", "LoggerThreads", "split_callbacks"]

log = logging.getLogger(__name__)

_MAX_PENDING = 20_000
#: The hooks that get a list of all trials and that not every logger overrides.
_HOOKS_WITH_TRIALS = HOOKS - {"setup", "on_experiment_end"}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Results of one trial from an earlier process that one logger has not written."""

    logger: LoggerCallback
    trial: Trial
    results: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Pass the results to the logger, and then the end of the trial."""
        self.logger.log_trial_results(0, self.trial, self.results)
        self.logger.log_trial_end(self.trial)


class LoggerThreads:
    """Calls all loggers of an experiment in threads with bounded queues.

    Loggers with `own_thread` get a thread each; all others share one and are called in list order.
    Metrics that a logger of the shared thread adds to a result are passed to the loggers after it.
    A logger that raises is not called again and `error` is set, unless `log_errors` is True.

    Args:
        loggers: The loggers; may be empty.
        max_pending: Results that may be queued before `submit` blocks. A logger with `own_thread`
            never blocks `submit`; it gets only some of the results instead.
        log_errors: Log exceptions of loggers, and go on calling them; `error` stays None.
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
        # Threads that follow another one come after it.
        self._threads: list[LoggerThread] = []
        self._entry_threads: list[LoggerThread] = []
        self._closed = False

    def setup(self, backlog: Sequence[Backlog] = (), /, **info: Any) -> None:
        """Call `setup` of all loggers in this thread, log the backlog, and start the threads.

        Args:
            backlog: Results of an earlier process that a logger has not written.
            info: As for `Callback.setup`.

        Raises:
            Exception: What a logger raises, with a note that names the logger, unless `log_errors`.
        """
        calls: list[tuple[LoggerCallback, str, Callable[[], None]]] = [
            (logger, "setup", partial(logger.setup, **info)) for logger in self._loggers
        ]
        calls += [(missed.logger, "log_trial_results", missed.write) for missed in backlog]
        failures = CallbackFailures()
        for logger, hook, call in calls:
            try:
                call()
            except Exception as error:
                if not self._log_errors:
                    name_callback(logger, hook, error)
                    raise
                failures.log(logger, hook, error)
        failures.summarise()
        self._start()

    def _start(self) -> None:
        start = partial(LoggerThread, limit=self._max_pending, log_errors=self._log_errors)
        followers: list[LoggerThread] = []
        may_add = False
        for logger in self._loggers:
            if logger.own_thread:
                thread = start([logger], lossy=True)
                (followers if may_add else self._entry_threads).append(thread)
            else:
                may_add = may_add or not accepts_batches(logger)
        together = [logger for logger in self._loggers if not logger.own_thread]
        if together:
            self._entry_threads.append(start(together, lossy=False, followers=followers))
        self._threads = [*self._entry_threads, *followers]

    @property
    def error(self) -> Exception | None:
        """The first exception of a logger, with a note that names the logger; None without one."""
        return next((t.error for t in self._threads if t.error is not None), None)

    @property
    def wants_trials(self) -> bool:
        """True if a logger overrides an ``on_*`` hook, which gets the list of all trials."""
        return any(
            getattr(type(logger), hook) is not getattr(LoggerCallback, hook)
            for logger in self._loggers
            for hook in _HOOKS_WITH_TRIALS
        )

    @property
    def wants_checkpoints(self) -> bool:
        """True if a logger overrides a hook that is called when a checkpoint is complete."""
        return any(
            _overrides(logger, hook)
            for logger in self._loggers
            for hook in ("on_checkpoint", "on_trial_save")
        )

    def submit(
        self, records: Sequence[LogRecord], *, iteration: int = 0, trials: list[Trial] | None = None
    ) -> None:
        """Queue events of trials, in order; waits while too many are queued (back-pressure).

        Args:
            records: The events; the caller must not change them any more.
            iteration: Round of the experiment's loop.
            trials: All trials, not copied; needed if `wants_trials`.
        """
        if not records:
            return
        batch = Batch.of(records, iteration, [] if trials is None else trials)
        for thread in self._entry_threads:
            thread.put(batch)

    def post(self, hook: str, **arguments: Any) -> None:
        """Queue a call of another hook, such as `on_checkpoint`, if a logger overrides it."""
        if any(_overrides(logger, hook) for logger in self._loggers):
            for thread in self._entry_threads:
                thread.put(HookCall(hook, arguments))

    def mark(self, visit: Callable[[LoggerCallback], None]) -> Callable[[], bool]:
        """Ask for all events submitted so far to be written to files, without waiting for it.

        Args:
            visit: Called after that with each logger, in the logger's thread.

        Returns:
            A function that returns True once all loggers have been visited.
        """
        mark = FlushMark(visit)
        for thread in self._entry_threads:
            thread.put(mark)
        return lambda: len(mark.reached) == len(self._threads)

    def close(self, trials: list[Trial] | None = None, timeout: float = 60.0) -> bool:
        """Write all events to files, call `on_experiment_end` and end the threads.

        Args:
            trials: All trials.
            timeout: Seconds to wait at most.

        Returns:
            False after `timeout` seconds; a warning then names the slow loggers.
        """
        if self._closed:
            return True
        self._closed = True
        last = HookCall("on_experiment_end", {"trials": [] if trials is None else trials})
        deadline = time.monotonic() + timeout
        for thread in self._entry_threads:
            thread.close(last)
        done = True
        for thread in self._threads:
            if thread not in self._entry_threads:
                # The thread that it follows has ended, and has passed everything on, also `last`.
                thread.close(None)
            if not thread.join(max(0.0, deadline - time.monotonic())):
                done = False
                log.warning(
                    "Not all results are written after %.0f s: %s still has %d of them to write.",
                    timeout,
                    thread.names,
                    thread.pending,
                )
        return done


def _overrides(logger: LoggerCallback, hook: str) -> bool:
    """Return True if a logger overrides a hook or its `log_trial_*` method."""
    for name in (hook, hook.replace("on_trial_", "log_trial_")):
        found = getattr(logger, name, None)
        if getattr(found, "__func__", found) is not getattr(LoggerCallback, name, None):
            return True
    return False


def split_callbacks(
    callbacks: Sequence[Callback],
) -> tuple[list[Callback], list[LoggerCallback]]:
    """Separate callbacks, which the engine calls itself, from loggers, which run in threads."""
    others = [callback for callback in callbacks if not isinstance(callback, LoggerCallback)]
    return others, [callback for callback in callbacks if isinstance(callback, LoggerCallback)]
