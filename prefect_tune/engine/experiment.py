"""The life of one experiment: open its parts, run the engine, close the parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Event
from prefect_tune.engine.control import ControlRequestHandler
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.engine.observers import OutputHub, StepListener
from prefect_tune.engine.queues import Inbox
from prefect_tune.engine.resume.callbacks import CallbackStates
from prefect_tune.engine.resume.resume import StartingPoint, resume
from prefect_tune.engine.resume.snapshot import Position, StatefulParts
from prefect_tune.engine.resume.snapshot_writer import Snapshots
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.engine.setup.initial_states import fingerprint
from prefect_tune.engine.setup.resume_mode import resumed_event
from prefect_tune.engine.signals import HandlerOverride, Interruption, handle_signals
from prefect_tune.engine.wiring import (
    TrialMaker,
    coordinator_options,
    experiment_env,
    make_observers,
)
from prefect_tune.execution.base import Executor
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.reporters import TrialOutputPrinter
from prefect_tune.search.search_state import SearchStates
from prefect_tune.storage.experiment_dir import ExperimentDir
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.storage.snapshot_files import SnapshotFiles
from prefect_tune.trainable.tracked_checkpoint import set_checkpoint_root

_logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 10.0
#: The final upload ends when no file has reached storage for this long.
_STORAGE_IDLE_S = 60.0
# Together with the grace periods of trials and uploads, less than Prefect's 30 s for a flow run.
_INTERRUPTED_TIMEOUT_S = 8.0


class RunningExperiment:
    """Runs an experiment on an executor.

    Args:
        setup: The validated experiment.
        executor: Runs the attempts; opened and closed by this object.

    Attributes:
        directory: The experiment directory; exists and is locked while the experiment is open.
        storage: The experiment's files on this machine and in storage.
        inbox: The queue that receives events.
        output: Receives what trials print.
        interruption: The signal or other cause that ended the run early, if any.
        on_control: Called after each request to the running sweep with a description of what was
            done, and with who asked.
    """

    def __init__(self, setup: ExperimentSetup, executor: Executor) -> None:
        self.setup = setup
        self.executor = executor
        self.inbox = Inbox()
        self.output = OutputHub(
            TrialOutputPrinter(setup.trainable.name) if setup.shows_output else None
        )
        self.interruption = Interruption()
        self.on_control: Callable[[str, str], object] = lambda _done, _by: None
        with ExitStack() as opened:
            self.directory = ExperimentDir(
                setup.root, setup.name, setup.experiment_id, fresh=not setup.named
            )
            setup.name = self.directory.name
            opened.callback(self.directory.close)
            self.storage = ExperimentStorage(
                self.directory.path, setup.experiment_id, setup.places, on_lost=self.inbox.fail
            )
            setup.pickles = replace(
                setup.pickles, large=LargeValues(self.directory.path, self.storage.upload_now)
            )
            self._resumed: StartingPoint | None = None
            self._stateful_parts = StatefulParts(
                setup.scheduler,
                setup.stopper,
                setup.tune.search_alg,
                fingerprint(setup.scheduler),
                fingerprint(setup.stopper),
            )
            self._callback_states = CallbackStates(setup.callbacks, self.directory, setup.pickles)
            self._restore_from = (
                None if setup.restore is None else setup.restore.copy_to(self.directory.path)
            )
            self.coordinator = self._make_coordinator()
            self._exit = opened.pop_all()

    def _make_coordinator(self) -> Coordinator:
        setup = self.setup
        return Coordinator(
            setup.scheduler,
            setup.stopper,
            coordinator_options(
                setup, self.directory.path, self.storage.location, self._restore_from
            ),
            search_alg=setup.tune.search_alg,
        )

    @property
    def trials(self) -> list[Trial]:
        """All trials of the experiment so far."""
        return self.coordinator.get_trials()

    @property
    def origin(self) -> str:
        """Id of the experiment's first run; call `open` first."""
        resumed = self._resumed
        return self.setup.experiment_id if resumed is None else resumed.position.origin

    def open(self) -> None:
        """Open storage and executor; bring a resumed experiment to the end of its journal.

        Raises:
            InvalidArgument: If a resumed experiment is another one.
            StorageError: If the journal cannot be used.
            ClusterError: If the cluster cannot run it.
            InsufficientResources: If a trial asks for more than any node has.
        """
        setup = self.setup
        setup.initial_states.mark_in_use()
        self._exit.callback(setup.initial_states.release)
        self.storage.open(resume=setup.resume is not None)
        self._exit.callback(self._close_storage)
        set_checkpoint_root(str(self.directory.path), self.storage.location)
        if setup.resume is not None:
            self._resumed = resume(
                setup,
                self.storage.journal,
                self._stateful_parts,
                self._make_coordinator,
                self.storage.checkpoints,
            )
            if self._resumed is not None:
                self.coordinator = self._resumed.coordinator
                self._callback_states.restore()
        self._exit.callback(self.executor.close)
        self.executor.open(
            experiment_env(setup, self.directory.path, self.storage.location),
            self.inbox.put,
            self.inbox.fail,
            self.output.put,
            self.inbox,
        )

    def run(
        self,
        launcher: AttemptLauncher,
        listeners: Sequence[StepListener] = (),
        override: HandlerOverride | None = None,
    ) -> None:
        """Run the experiment to its end in the calling thread, then close all parts.

        Args:
            launcher: Starts attempts.
            listeners: Called after each batch of events.
            override: A context manager that gets the signal handler while it is installed.

        Raises:
            Exception: What ended the experiment early; everything reported so far is on disk.
        """
        with self._exit:
            setup = self.setup
            start = self._resumed or StartingPoint(
                Position(setup.experiment_id, SnapshotFiles(self.directory.path, setup.pickles)),
                self.coordinator,
            )
            header = setup.header(time.time(), start.position.origin).encode()
            self.storage.journal.append([header])
            self.storage.start()
            for path in start.orphans.to_delete:
                self.storage.delete_checkpoint(path)
            if self.coordinator.added_samples:
                setup.source.adjust(self.coordinator.added_samples, None)
            parts = self._make_parts(start, launcher, listeners)
            parts.snapshots.on_opened(setup.experiment_id, header)
            self._engine = Engine(
                parts,
                warn_pending_s=setup.settings.warn_insufficient_resources_s,
                warn_slow_s=setup.settings.warn_threshold_s,
                resource_help=getattr(setup.request.trainable, "resource_help", None),
            )
            parts.feed.start()
            failed: BaseException | None = None
            try:
                self._run_engine(start, override)
            except BaseException as error:
                failed = error
                if not isinstance(error, Exception):
                    # A second Ctrl-C: do not wait for running trials.
                    self.executor.close()
                raise
            finally:
                with _log_later_errors(failed):
                    with ExitStack() as others:
                        # Even if closing the search fails, flush loggers and finish task runs.
                        others.callback(parts.observers.close, self.coordinator)
                        others.callback(launcher.close, _CLOSE_TIMEOUT_S)
                        parts.feed.close()
                        self._engine.save_search()
                    # Skipped after a failure: a snapshot promises that all results are logged.
                    parts.snapshots.close()

    def _make_parts(
        self, start: StartingPoint, launcher: AttemptLauncher, listeners: Sequence[StepListener]
    ) -> EngineParts:
        setup, position = self.setup, start.position
        chosen = setup.settings.global_checkpoint_s
        checkpoint_every_s = None if isinstance(chosen, str) else chosen
        path = self.directory.path
        taken = (trial.relative_logdir for trial in self.trials)
        trial_maker = TrialMaker(
            self.coordinator.options,
            setup.resources_for,
            TrialDirNamer(path, setup.settings.max_len_identifier, taken),
            setup.tune.trial_name_creator,
            setup.tune.trial_dirname_creator,
        )
        feed = SearchFeed(
            setup.source,
            trial_maker,
            self.inbox.put,
            self.inbox.fail,
            position.suggested,
            position.told,
            every_s=checkpoint_every_s,
        )
        observers = make_observers(
            setup, listeners, start.backlog, self.storage.open_checkpoint, self.output
        )
        snapshots = Snapshots(
            position,
            self.coordinator,
            self._stateful_parts,
            self._callback_states,
            observers.visit_callbacks,
            lambda: feed.can_save,
            checkpoint_every_s,
        )
        return EngineParts(
            coordinator=self.coordinator,
            inbox=self.inbox,
            executor=self.executor,
            launcher=launcher,
            feed=feed,
            journal=self.storage.journal,
            directory=self.directory,
            log_policies=getattr(setup.scheduler, "log_config", False) is True,
            storage=self.storage,
            search_states=SearchStates(self.directory.path, position.origin, setup.pickles),
            snapshots=snapshots,
            observers=observers,
            pickles=setup.pickles,
        )

    def _run_engine(self, start: StartingPoint, override: HandlerOverride | None) -> None:
        """Run the engine, while signals and requests from outside reach it."""
        begin: list[Event] = []
        if self._resumed is not None and self.setup.resume is not None:
            resumed = resumed_event(self.setup.resume, time.time())
            begin = [*start.orphans.to_record, resumed]
        sigint = not self.setup.settings.disable_sigint_handler
        with (
            handle_signals(self._engine.interrupt, sigint, override) as self.interruption,
            ControlRequestHandler(
                [Location(str(self.directory.path)), *filter(None, [self.storage.location])],
                self.coordinator,
                self._engine.request,
                self.interrupt,
                self._report_control,
            ),
        ):
            self._engine.run(begin)

    def interrupt(self, cause: str, *, out_of_time: bool = False) -> None:
        """End the run in order, as a signal does.

        Args:
            cause: The reason, for people.
            out_of_time: True if the reason is a time limit.
        """
        self.interruption.cause = cause
        self.interruption.out_of_time = out_of_time
        self._engine.interrupt(cause)

    def _report_control(self, done: str, by: str) -> None:
        _logger.info("%s: %s.", self.setup.name, done)
        self.on_control(done, by)

    def close(self) -> None:
        """Close all parts without running; `run` does so itself."""
        self._exit.close()

    def _close_storage(self) -> None:
        """Upload the remaining files; after an interruption only for a few seconds."""
        asked_to_end = self.interruption.reason is not None
        self.storage.close(_STORAGE_IDLE_S, _INTERRUPTED_TIMEOUT_S if asked_to_end else None)


@contextmanager
def _log_later_errors(first: BaseException | None) -> Iterator[None]:
    """Log an error of closing instead of raising it, if `first` has ended the sweep already."""
    try:
        yield
    except Exception as error:
        if first is None or error is first:
            raise
        _logger.error("At the end of the sweep: %s", error)
