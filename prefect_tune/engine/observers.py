"""Everybody who is told what happens: callbacks, loggers, the progress reporter, listeners.

Callbacks run in the thread that has called the sweep, in order, behind the engine's: a trial may be
further on than what is told of it. Loggers run on threads of their own and get results in batches.
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
from prefect_tune.engine.notice_queue import NoticeQueue
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.threads import Backlog, LoggerThreads, LogRecord, split_callbacks
from prefect_tune.reporters import TrialOutputPrinter
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.trainable.output import TrialLog, TrialOutput

#: Called after each batch of events, with the coordinator; must return at once.
StepListener = Callable[[Coordinator], None]
#: Times how long so many notices take.
Watch = Callable[[int], AbstractContextManager[None]]


class Observers:
    """Tells callbacks, loggers and the reporter.

    `tell`, `has_room`, `mark` and `finish` belong to the engine's thread, all others to the one
    that has called the sweep.

    Args:
        callbacks: The user's callbacks and the loggers, in order.
        reporter: Shows progress to a person; None shows nothing.
        listeners: Called after each batch of events and at the end.
        setup_info: Keyword arguments for `Callback.setup`.
        backlog: Results that an earlier process has acknowledged but not logged.
        open_checkpoint: Makes of a checkpoint what callbacks are given.
        about_scheduler: What the scheduler says about itself; asked before each report.
        show_output: Shows what trials have printed since the last call; the last one is called with
            True.
        log_errors: Log what callbacks and loggers raise, and go on.

    Attributes:
        reading: Held while the reporter and listeners look at the coordinator; whoever changes it
            holds it meanwhile.
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
        self._has_callbacks = bool(others)
        self._has_loggers = bool(loggers)
        self._shows_trials = self._has_callbacks or self._logging.wants_trials
        self._reporter = reporter
        self._listeners = list(listeners)
        self._setup_info = setup_info or {}
        self._backlog = backlog
        self._open_checkpoint = open_checkpoint
        self._about_scheduler = about_scheduler
        self._show_output = show_output
        self._iteration = 0
        self._queue = NoticeQueue()
        self.reading = threading.RLock()
        self._watch: Watch = lambda count: nullcontext()

    def start(self) -> None:
        """Set everything up; before the first trial.

        Raises:
            Exception: What a callback or logger raises, with a note that names it.
        """
        self._callbacks.setup(**self._setup_info)
        self._logging.setup(self._backlog, **self._setup_info)
        self._backlog = ()

    def tell(self, notices: Sequence[Notify], coordinator: Coordinator) -> None:
        """Have them told what a batch of events has led to; does not wait for that."""
        if notices or self._queue.idle:
            # Trials that are created before this is told were not there when it happened.
            created = len(coordinator.table)
            self._queue.put(lambda: self._tell(notices, coordinator, created), len(notices))

    def has_room(self, timeout: float) -> bool:
        """Wait up to so many seconds until more may be told; False while too much waits."""
        return self._queue.has_room(timeout)

    def finish(self, problem: BaseException | None) -> None:
        """Nothing more is told.

        Args:
            problem: What `serve` is to raise when everything was told.
        """
        self._queue.close(problem)

    def serve(self, watch: Watch) -> None:
        """Tell what there is to tell until `finish`.

        Args:
            watch: Times how long it takes.

        Raises:
            TuneError: If a callback or logger raised; names it.
            BaseException: What `finish` was given.
        """
        self._watch = watch
        self._queue.serve()

    def mark(self, visit: Callable[[Callback], None]) -> Callable[[], bool]:
        """Visit callbacks and loggers once they have been told all that has happened so far.

        Args:
            visit: Called with each callback where it is told, and with each logger in its thread,
                as soon as it has written what it was given.

        Returns:
            A function that is True once all have been visited.
        """
        if not self._has_callbacks and not self._has_loggers:
            return lambda: True
        reached: list[Callable[[], bool]] = []

        def visit_all() -> None:
            for callback in self._callbacks:
                visit(callback)
            reached.append(self._logging.mark(visit))

        self._queue.put(visit_all, 0)
        return lambda: bool(reached) and reached[0]()

    def _tell(self, notices: Sequence[Notify], coordinator: Coordinator, created: int) -> None:
        self._iteration += 1
        self._step("on_step_begin", coordinator)
        if notices:
            with self._watch(len(notices)):
                self._notify(notices, coordinator.table, created)
        self._end_step(coordinator)

    def _step(self, hook: str, coordinator: Coordinator) -> None:
        if self._callbacks.listens(hook):
            getattr(self._callbacks, hook)(
                iteration=self._iteration, trials=coordinator.get_trials()
            )
        if self._shows_trials:
            self._logging.post(hook, iteration=self._iteration, trials=coordinator.get_trials())

    def _notify(self, notices: Sequence[Notify], table: TrialTable, created: int) -> None:
        """Tell about what happened, in order, when there were so many trials.

        Raises:
            Exception: What a callback has raised, with a note that names it.
        """
        trials = table.trials()[:created] if self._shows_trials else []
        batch: list[tuple[Notify, Trial]] = []
        try:
            for notice in notices:
                trial = table.get(notice.trial_id)
                if trial is None:
                    continue
                if notice.checkpoint is not None:
                    if self._logging.hears_of_checkpoints:
                        self._log(batch, trials)
                        batch = []
                    self._checkpoint(notice.checkpoint, trial, trials)
                    continue
                if not self._callbacks.listens(f"on_{notice.notice}"):
                    batch.append((notice, trial))
                    continue
                result = None if notice.result is None else dict(notice.result)
                try:
                    self._call_back(notice.notice, trial, trials, result)
                finally:
                    # What a callback raised at is logged all the same, with what others added.
                    batch.append((_as_left(notice, result), trial))
        finally:
            self._log(batch, trials)

    def _log(self, batch: Sequence[tuple[Notify, Trial]], trials: list[Trial]) -> None:
        self._logging.submit(_joined(batch), iteration=self._iteration, trials=trials)

    def _checkpoint(self, saved: TrialCheckpoint, trial: Trial, trials: list[Trial]) -> None:
        told: dict[str, Any] = {"iteration": self._iteration, "trials": trials, "trial": trial}
        if self._callbacks.listens("on_checkpoint") or self._logging.hears_of_checkpoints:
            checkpoint = self._open_checkpoint(saved)
            self._callbacks.on_checkpoint(checkpoint=checkpoint, **told)
            self._logging.post("on_checkpoint", checkpoint=checkpoint, **told)
        self._callbacks.on_trial_save(**told)
        self._logging.post("on_trial_save", **told)

    def _call_back(
        self, notice: Notice, trial: Trial, trials: list[Trial], result: dict[str, Any] | None
    ) -> None:
        told: dict[str, Any] = {"iteration": self._iteration, "trials": trials, "trial": trial}
        if result is not None:
            told["result"] = result
        getattr(self._callbacks, f"on_{notice}")(**told)

    def _end_step(self, coordinator: Coordinator) -> None:
        """After a batch of events: progress, listeners, and failures of the loggers."""
        self._step("on_step_end", coordinator)
        if self._logging.error is not None:
            raise self._logging.error
        with self.reading:
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
            # Whoever waits for the results is shown them, whatever a callback does at the end.
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
    """What is in use of the cluster, for people."""
    totals = coordinator.placer.totals()
    used = ", ".join(f"{used:g}/{total:g} {name}s" for name, (used, total) in totals.items())
    return f"Resources requested: {used or 'none'}"


def _as_left(notice: Notify, left: dict[str, Any] | None) -> Notify:
    """What loggers are told, behind callbacks that had the result as `left`."""
    if left is None:
        return notice
    try:
        same = left == notice.result
    except Exception:  # arrays cannot tell; other objects are users'
        same = False
    line = notice.line
    # What is nested may have been changed in place, which the JSON text does not show.
    if same and (line is None or (line.rfind(b"{") == 0 and b"[" not in line)):
        return notice
    return replace(notice, result=left, line=None)


def _joined(notices: Sequence[tuple[Notify, Trial]]) -> list[LogRecord]:
    """Join neighbouring results of one trial, which loggers then write in one go."""
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
    """Passes on what trials print and log, from any thread.

    Args:
        printer: Shows it on the console; None shows nothing there.
    """

    def __init__(self, printer: TrialOutputPrinter | None) -> None:
        self._printer = printer
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have somebody told at once, in the thread that brings it; before the experiment runs."""
        self._listeners.append(listener)

    def put(self, output: TrialOutput | TrialLog) -> None:
        """Pass it on; an attempt's output comes before its end."""
        for listener in self._listeners:
            listener(output)
        if self._printer is not None and isinstance(output, TrialOutput):
            self._printer.put(output)

    def show(self, last: bool) -> None:
        """Print what has come; `last` if it will not be called again."""
        if self._printer is not None:
            self._printer.flush(last)
