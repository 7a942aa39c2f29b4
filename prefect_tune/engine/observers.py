"""Notifies callbacks, loggers, the progress reporter and listeners of what happens in a sweep.

Callbacks run in the thread that called the sweep, in order, and later than the engine's thread: a
trial may be further on than the callback's arguments say. Loggers run in threads of their own and
get results in batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from prefect_tune.callback import Callback, CallbackList
from prefect_tune.coordinator.commands import Notice, Notify
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.table import TrialTable
from prefect_tune.engine.queues import NoticeQueue
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.threads import Backlog, LoggerThreads, LogRecord, split_callbacks
from prefect_tune.reporters import TrialOutputPrinter
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.resources import MILLI, is_offered, show_amount
from prefect_tune.trainable.output import TrialLog, TrialOutput

#: Called with the coordinator after each batch of events; must return at once.
StepListener = Callable[[Coordinator], None]
#: Makes a context manager that times the handling of the given number of notices.
Watch = Callable[[int], AbstractContextManager[None]]


class Observers:
    """Notifies callbacks, loggers, listeners and the reporter of what happens in a sweep.

    `tell`, `has_room`, `visit_callbacks` and `finish` are for the engine's thread, all other
    methods for the thread that called the sweep.

    Args:
        callbacks: The user's callbacks and the loggers, in order.
        reporter: Shows progress on the console or in a notebook; None shows nothing.
        listeners: Called after each batch of events and at the end.
        setup_info: Keyword arguments for `Callback.setup`.
        backlog: Results that an earlier process has acknowledged but not logged.
        open_checkpoint: Turns a checkpoint's record into the object that callbacks are given.
        about_scheduler: Returns the scheduler's line of the progress report.
        show_output: Shows what trials have printed since the last call; gets True at the last call.
        log_errors: True logs what callbacks and loggers raise and goes on; False ends the sweep.

    Attributes:
        coordinator_lock: Held while the reporter and listeners read the coordinator, and by the
            engine while it changes the coordinator.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback],
        reporter: ProgressReporter | None = None,
        listeners: Sequence[StepListener] = (),
        setup_info: dict[str, Any] | None = None,
        backlog: Sequence[Backlog] = (),
        open_checkpoint: Callable[[TrialCheckpoint], Any] = lambda saved: saved.path,
        about_scheduler: Callable[[], str] = lambda: "",
        show_output: Callable[[bool], None] = lambda _last: None,
        log_errors: bool = False,
    ) -> None:
        others, loggers = split_callbacks(callbacks)
        self._logging = LoggerThreads(loggers, log_errors=log_errors)
        self._callbacks = CallbackList(others, log_errors=log_errors)
        self._has_listeners = bool(others or loggers)
        self._shows_trials = bool(others) or self._logging.wants_trials
        self._reporter = reporter
        self._listeners = list(listeners)
        self._setup_info = setup_info or {}
        self._backlog = backlog
        self._open_checkpoint = open_checkpoint
        self._about_scheduler = about_scheduler
        self._show_output = show_output
        self._iteration = 0
        self._queue = NoticeQueue()
        self.coordinator_lock = threading.RLock()
        self._watch: Watch = lambda count: nullcontext()

    def start(self) -> None:
        """Set up callbacks and loggers, before the first trial.

        Raises:
            Exception: What a callback or logger raises, with a note that names it.
        """
        self._callbacks.setup(**self._setup_info)
        self._logging.setup(self._backlog, **self._setup_info)
        self._backlog = ()

    def tell(self, notices: Sequence[Notify], coordinator: Coordinator) -> None:
        """Queue the notices of a batch of events for callbacks and all others; never waits."""
        if notices or self._queue.idle:
            # The engine may add trials before `serve` gets here; callbacks must not see these yet.
            created = len(coordinator.table)
            self._queue.put(lambda: self._run_step(notices, coordinator, created), len(notices))

    def has_room(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until few enough notices wait; False if too many do."""
        return self._queue.has_room(timeout)

    def finish(self, problem: BaseException | None) -> None:
        """Let `serve` return once all queued notices are delivered.

        Args:
            problem: What `serve` raises at the end instead of returning.
        """
        self._queue.close(problem)

    def serve(self, watch: Watch) -> None:
        """Deliver queued notices in this thread until `finish` is called.

        Args:
            watch: Times how long callbacks take.

        Raises:
            TuneError: If a callback or logger raised; the message names it.
            BaseException: What `finish` was given.
        """
        self._watch = watch
        self._queue.serve()

    def visit_callbacks(self, visit: Callable[[Callback], None]) -> Callable[[], bool]:
        """Call `visit` with each callback and logger once it has all notices queued so far.

        Args:
            visit: Called with each callback in the thread that runs callbacks, and with each logger
                in its own thread as soon as it has written what it was given.

        Returns:
            A function that returns True once all have been visited.
        """
        if not self._has_listeners:
            return lambda: True
        reached: list[Callable[[], bool]] = []

        def visit_all() -> None:
            for callback in self._callbacks:
                visit(callback)
            reached.append(self._logging.mark(visit))

        self._queue.put(visit_all, 0)
        return lambda: bool(reached) and reached[0]()

    def _run_step(self, notices: Sequence[Notify], coordinator: Coordinator, created: int) -> None:
        self._iteration += 1
        self._call_step_hook("on_step_begin", coordinator)
        if notices:
            with self._watch(len(notices)):
                self._notify(notices, coordinator.table, created)
        self._end_step(coordinator)

    def _call_step_hook(self, hook: str, coordinator: Coordinator) -> None:
        if self._callbacks.listens(hook):
            self._callbacks.call(hook, iteration=self._iteration, trials=coordinator.get_trials())
        if self._shows_trials:
            self._logging.post(hook, iteration=self._iteration, trials=coordinator.get_trials())

    def _notify(self, notices: Sequence[Notify], table: TrialTable, created: int) -> None:
        """Deliver notices to callbacks and loggers in order, showing them the first trials only.

        Args:
            notices: What has happened.
            table: All trials.
            created: How many trials there were when it happened.

        Raises:
            Exception: What a callback has raised, with a note that names it.
        """
        trials = table.trials()[:created] if self._shows_trials else []
        kinds = {notice.notice for notice in notices}
        called = {kind for kind in kinds if self._callbacks.listens(f"on_{kind}")}
        batch: list[tuple[Notify, Trial]] = []
        try:
            for notice in notices:
                trial = table[notice.trial_id]
                if notice.checkpoint is not None:
                    if self._logging.wants_checkpoints:
                        self._log(batch, trials)
                        batch = []
                    self._notify_checkpoint(notice.checkpoint, trial, trials)
                    continue
                if notice.notice not in called:
                    batch.append((notice, trial))
                    continue
                result = None if notice.result is None else dict(notice.result)
                arguments = {"iteration": self._iteration, "trials": trials, "trial": trial}
                if result is not None:
                    arguments["result"] = result
                try:
                    self._callbacks.call(f"on_{notice.notice}", **arguments)
                finally:
                    # A result is logged even if a callback raised, with what callbacks added to it.
                    batch.append((_as_callbacks_left(notice, result), trial))
        finally:
            self._log(batch, trials)

    def _log(self, batch: Sequence[tuple[Notify, Trial]], trials: list[Trial]) -> None:
        self._logging.submit(_join_results(batch), iteration=self._iteration, trials=trials)

    def _notify_checkpoint(self, saved: TrialCheckpoint, trial: Trial, trials: list[Trial]) -> None:
        arguments: dict[str, Any] = {"iteration": self._iteration, "trials": trials, "trial": trial}
        if self._callbacks.listens("on_checkpoint") or self._logging.wants_checkpoints:
            checkpoint = self._open_checkpoint(saved)
            self._callbacks.on_checkpoint(checkpoint=checkpoint, **arguments)
            self._logging.post("on_checkpoint", checkpoint=checkpoint, **arguments)
        self._callbacks.on_trial_save(**arguments)
        self._logging.post("on_trial_save", **arguments)

    def _end_step(self, coordinator: Coordinator) -> None:
        """Finish a batch of events: call `on_step_end`, show progress, call the listeners."""
        self._call_step_hook("on_step_end", coordinator)
        if self._logging.error is not None:
            raise self._logging.error
        with self.coordinator_lock:
            self._report(coordinator, done=False)
            for listener in self._listeners:
                listener(coordinator)

    def close(self, coordinator: Coordinator) -> None:
        """Flush the loggers, call `on_experiment_end`, and show the final state.

        Raises:
            Exception: What a callback or logger raises, with a note that names it.
        """
        trials = coordinator.get_trials()
        self._logging.close(trials)
        try:
            self._callbacks.on_experiment_end(trials=trials)
        finally:
            # The final results are shown even if a callback raises at the end.
            self._report(coordinator, done=True)
            for listener in self._listeners:
                listener(coordinator)
        if self._logging.error is not None:
            raise self._logging.error

    def _report(self, coordinator: Coordinator, done: bool) -> None:
        self._show_output(done)
        reporter = self._reporter
        if reporter is None:
            return
        trials = coordinator.get_trials()
        if reporter.should_report(trials, done):
            reporter.report(trials, done, self._about_scheduler(), resource_line(coordinator))


def resource_line(coordinator: Coordinator) -> str:
    """Return the line of the progress report that says which resources trials have requested."""
    totals = coordinator.placer.totals()
    used = ", ".join(
        show_amount(name, *(round(amount * MILLI) for amount in amounts), between="/")
        + ("" if is_offered(name) else "s")
        for name, amounts in totals.items()
    )
    return f"Resources requested: {used or 'none'}"


def _as_callbacks_left(notice: Notify, left: dict[str, Any] | None) -> Notify:
    """Return the notice for loggers, with the result as callbacks have left (changed) it."""
    if left is None:
        return notice
    try:
        same = left == notice.result
    except Exception:  # comparing arrays raises, and users' objects may
        same = False
    line = notice.line
    # A nested value may have been changed in place, which the comparison cannot see.
    if same and (line is None or (line.rfind(b"{") == 0 and b"[" not in line)):
        return notice
    return replace(notice, result=left, line=None)


def _join_results(notices: Sequence[tuple[Notify, Trial]]) -> list[LogRecord]:
    """Join successive results of one trial into one record, which loggers write at once."""
    records: list[LogRecord] = []
    results: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for notice, trial in notices:
        if notice.notice is not Notice.TRIAL_RESULT or notice.result is None:
            records.append(LogRecord(notice.notice, trial))
            continue
        last = records[-1] if records else None
        has_line = notice.line is not None
        if (
            last is None
            or last.trial is not trial
            or last.notice is not Notice.TRIAL_RESULT
            or bool(last.lines) is not has_line
        ):
            results, lines = [], []
            records.append(LogRecord(notice.notice, trial, results, lines))
        results.append(notice.result)
        if notice.line is not None:
            lines.append(notice.line)
    return records


Listener = Callable[[TrialOutput | TrialLog], None]


class OutputHub:
    """Passes what trials print and log to listeners and to the console, from any thread.

    Args:
        printer: Shows the output on the console; None shows nothing there.
    """

    def __init__(self, printer: TrialOutputPrinter | None) -> None:
        self._printer = printer
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Add a listener that is called in the thread that brings output; before the sweep runs."""
        self._listeners.append(listener)

    def put(self, output: TrialOutput | TrialLog) -> None:
        """Pass output to listeners and printer; an attempt's output comes before its end."""
        for listener in self._listeners:
            listener(output)
        if self._printer is not None and isinstance(output, TrialOutput):
            self._printer.put(output)

    def show(self, last: bool) -> None:
        """Print the output that waits; `last` is True at the last call."""
        if self._printer is not None:
            self._printer.flush(last)
