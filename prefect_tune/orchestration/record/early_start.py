"""Starts trials while the embedded server that will record them is still booting."""

from __future__ import annotations

import contextvars
import logging
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext

from prefect_tune.atomic_write import write_atomic
from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import AttemptEnded
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.observers import StepListener
from prefect_tune.execution.base import TrialPlace
from prefect_tune.experiment.attempt_key import AttemptKey
from prefect_tune.orchestration.prefect_internals import (
    new_task_run_id,
    set_context,
    taken_for_prefects,
)
from prefect_tune.orchestration.record.conclusion import ExperimentFlow
from prefect_tune.orchestration.record.launcher import PrefectLauncher, task_run_text
from prefect_tune.orchestration.record.trial_context import TrialContext
from prefect_tune.orchestration.server.embedded import EmbeddedServer
from prefect_tune.orchestration.threads import make_thread

T = TypeVar("T")
_logger = logging.getLogger("prefect_tune")

_CLOSE_S = 10.0
#: Seconds that the record of a sweep has which is ended by force.
_BY_FORCE_S = 5.0
#: Seconds that it has when its server has died.
_SERVER_DEAD_S = 20.0


class EarlyStart:
    """Runs a sweep at once, and its flow run in another thread as soon as there is a server.

    The engine runs in the calling thread. The flow run first takes over the attempts that have been
    launched, lasts as long as the sweep, and is waited for.

    This is the launcher of the engine. Until the flow run has a launcher, it starts attempts whose
    task runs have ids but do not exist yet. User code that asks for its flow run waits for it.

    Args:
        experiment: The experiment.
        flow: Description of the flow run.
        server: The server that boots.
    """

    def __init__(
        self, experiment: RunningExperiment, flow: ExperimentFlow, server: EmbeddedServer
    ) -> None:
        self._experiment = experiment
        self._flow = flow
        self._server = server
        self._lock = threading.Lock()
        self._launched: list[tuple[Launch, TrialPlace, Future[AttemptEnded], UUID]] = []
        self._endings: dict[AttemptKey, Kill | Decide] = {}
        self._launcher: PrefectLauncher | None = None
        self._listeners: Sequence[StepListener] = ()
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self, record: Callable[[], T], listener: StepListener) -> T | None:
        """Run the sweep.

        Args:
            record: Makes the flow run, which calls `follow`; called in a thread.
            listener: Called after each batch of events.

        Returns:
            The result of `record`; None if it failed, and nothing is recorded.

        Raises:
            BaseException: The error that has ended the sweep early.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="prefect_tune_flow_run_"))
        recorded: Future[T] = Future()

        def run_record() -> None:
            try:
                recorded.set_result(record())
            except BaseException as error:
                if error is not self._error:
                    _logger.warning("The sweep is not recorded in Prefect: %s", error)
                recorded.set_exception(error)

        make_thread("prefect-flow-run", run_record).start()
        listeners = [self._listen, listener]
        try:
            # In a copy of the context, which later becomes that of the flow run.
            contextvars.copy_context().run(
                self._experiment.run, self, listeners, taken_for_prefects
            )
        except BaseException as error:
            self._error = error
        self._over.set()
        by_force = self._error is not None and not isinstance(self._error, Exception)
        failed = self._await_record(recorded, by_force)
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._error is not None:
            raise self._error
        return None if failed is not None else recorded.result()

    def _await_record(self, recorded: Future[T], by_force: bool) -> BaseException | None:
        """Wait until the flow run has ended; returns why there is none.

        A server whose process has ended does not come back, and Prefect's clients would go on
        trying for minutes.
        """
        deadline = time.monotonic() + (_BY_FORCE_S if by_force else math.inf)
        while not recorded.done() and time.monotonic() < deadline:
            if not self._server.alive:
                deadline = min(deadline, time.monotonic() + _SERVER_DEAD_S)
            wait([recorded], 0.5)
        if recorded.done():
            return recorded.exception()
        if not by_force:
            _logger.warning("The sweep is not recorded in Prefect: its embedded server has ended.")
        return TimeoutError()

    def follow(self, launcher: PrefectLauncher, listeners: Sequence[StepListener]) -> None:
        """Record the attempts launched so far and from now on, until the sweep ends.

        Called in the flow run.

        Args:
            launcher: Launches and records attempts from now on.
            listeners: Called after each batch of events from now on.

        Raises:
            BaseException: The error that has ended the sweep early.
        """
        context = contextvars.copy_context()
        entered = {kind: kind.get() for kind in (FlowRunContext, TaskRunContext)}

        def in_flow_run(listener: StepListener) -> StepListener:
            return lambda coordinator: context.run(listener, coordinator)

        def enter(coordinator: Coordinator) -> None:
            """Enter the flow run's contexts, so that callbacks find them."""
            while entered:
                set_context(None, *entered.popitem())

        if self._directory.is_dir():
            write_atomic(self._announced, launcher.flow_run_text.encode())
        with self._lock:
            for attempt in self._launched:
                launcher.adopt(*attempt, self._endings.get(attempt[0].key))
            self._launched.clear()
            self._launcher = launcher
            # In the context of the flow run, whose logs and events they write.
            self._listeners = [enter, *map(in_flow_run, listeners)]
        self._over.wait()
        launcher.close(_CLOSE_S)
        if self._error is not None:
            raise self._error

    def launch(self, launch: Launch, place: TrialPlace) -> None:
        """Start an attempt."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.launch(launch, place)
                return
            task_run = ""
            recorded = len(self._launched) < self._flow.max_task_runs
            if recorded:
                task_run_id = new_task_run_id()
                task_run = task_run_text(launch, task_run_id)
                self._flow.logs.expect(launch.key)
            around = TrialContext(
                self._flow.name, "", task_run, self._server.api_url, self._announced
            )
            ended = self._experiment.executor.launch(launch, replace(place, surroundings=around))
            if recorded:
                self._launched.append((launch, place, ended, task_run_id))

    def note_end(self, command: Kill | Decide) -> None:
        """Note why an attempt was ended, for the state of its task run."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.note_end(command)
            elif command.key not in self._endings or isinstance(command, Kill):
                self._endings[command.key] = command

    def close(self, timeout: float) -> None:
        """Wait until the task runs of attempts that have ended are final too."""
        if self._launcher is not None:
            self._launcher.close(timeout)

    def _listen(self, coordinator: Coordinator) -> None:
        for listener in self._listeners:
            listener(coordinator)

    @property
    def _announced(self) -> str:
        return str(self._directory / "flow_run.json")
