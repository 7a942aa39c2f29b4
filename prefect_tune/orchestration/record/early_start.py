"""Starts trials while Prefect is imported and the embedded server that records them is booting.

This module does not import Prefect, which takes seconds.
"""

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
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from prefect_tune.atomic_write import write_atomic
from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import AttemptEnded
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.observers import StepListener
from prefect_tune.execution.base import TrialPlace
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.orchestration.record.texts import flow_name, new_task_run_id, task_run_text
from prefect_tune.orchestration.record.trial_context import TrialContext
from prefect_tune.orchestration.server.embedded import EmbeddedServer
from prefect_tune.orchestration.server.without_prefect import ConfiguredServer
from prefect_tune.orchestration.threads import make_thread

if TYPE_CHECKING:
    from prefect_tune.orchestration.record.launcher import PrefectLauncher

T = TypeVar("T")
_logger = logging.getLogger("prefect_tune")

_CLOSE_S = 10.0
#: Seconds that the record of a sweep has which is ended by force.
_BY_FORCE_S = 5.0
#: Seconds that it has when its server has died.
_SERVER_DEAD_S = 20.0
#: Seconds after which the flow run is made even if no trial can start yet.
_NO_TRIAL_S = 1.0


class EarlyStart:
    """Runs a sweep at once, and its flow run in another thread as soon as there is a server.

    The engine runs in the calling thread. The flow run first takes over the attempts that have been
    launched, lasts as long as the sweep, and is waited for.

    This is the launcher of the engine. Until the flow run has a launcher, it starts attempts whose
    task runs have ids but do not exist yet. User code that asks for its flow run waits for it.

    Args:
        experiment: The opened experiment.
        server: The server that boots or has answered.

    Attributes:
        begun: When the sweep began, in the time of `time.monotonic`.
        ended: The same of its end; None until then.
        earlier: The trials that a resumed experiment had then.
        logs: Brings what attempts log to the logs of their task runs.
    """

    def __init__(
        self, experiment: RunningExperiment, server: EmbeddedServer | ConfiguredServer
    ) -> None:
        setup = experiment.setup
        self.begun = time.monotonic()
        self.ended: float | None = None
        self.earlier = list(experiment.trials)
        self.logs = TaskRunLogs(keeps_output=setup.keeps_output_in_prefect)
        experiment.output.listen(self.logs.put)
        self._experiment = experiment
        self._server = server
        self._flow_name = flow_name(setup.trainable.name)
        self._max_task_runs = setup.settings.max_task_runs
        self._lock = threading.Lock()
        self._launched: list[tuple[Launch, TrialPlace, Future[AttemptEnded], UUID]] = []
        self._endings: dict[AttemptKey, Kill | Decide] = {}
        self._launcher: PrefectLauncher | None = None
        self._listeners: Sequence[StepListener] = ()
        self._has_launched = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self, record: Callable[[EarlyStart], T]) -> T | None:
        """Run the sweep.

        Args:
            record: Makes the flow run, which calls `follow`; called in a thread.

        Returns:
            The result of `record`; None if it failed, and nothing is recorded.

        Raises:
            BaseException: The error that has ended the sweep early.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="prefect_tune_flow_run_"))
        recorded: Future[T] = Future()

        def run_record() -> None:
            # Importing Prefect would slow down what starts the first trials.
            self._has_launched.wait(_NO_TRIAL_S)
            try:
                recorded.set_result(record(self))
            except BaseException as error:
                if error is not self._error:
                    _logger.warning("The sweep is not recorded in Prefect: %s", error)
                recorded.set_exception(error)

        make_thread("prefect-flow-run", run_record).start()
        try:
            # In a copy of the context, which later becomes that of the flow run.
            contextvars.copy_context().run(self._experiment.run, self, [self._listen])
        except BaseException as error:
            self._error = error
        self.ended = time.monotonic()
        self._over.set()
        self._has_launched.set()
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
        from prefect.context import FlowRunContext, TaskRunContext

        from prefect_tune.orchestration.prefect_internals import set_context

        context = contextvars.copy_context()
        entered = {kind: kind.get() for kind in (FlowRunContext, TaskRunContext)}

        def in_flow_run(listener: StepListener) -> StepListener:
            return lambda coordinator: context.run(listener, coordinator)

        def enter(coordinator: Coordinator) -> None:
            """Enter the flow run's contexts, so that callbacks find them."""
            while entered:
                set_context(None, *entered.popitem())

        if self._directory.is_dir():
            write_atomic(self._flow_run_file, launcher.flow_run_text.encode())
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
        """Launch an attempt, and keep it for the flow run; that launches it itself once it runs."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.launch(launch, place)
                return
            task_run = ""
            recorded = len(self._launched) < self._max_task_runs
            if recorded:
                task_run_id = new_task_run_id()
                task_run = task_run_text(launch, task_run_id)
                self.logs.expect(launch.key)
            around = TrialContext(
                self._flow_name, "", task_run, self._server.api_url, self._flow_run_file
            )
            ended = self._experiment.executor.launch(launch, replace(place, surroundings=around))
            if recorded:
                self._launched.append((launch, place, ended, task_run_id))
        self._has_launched.set()

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
    def _flow_run_file(self) -> str:
        return str(self._directory / "flow_run.json")
