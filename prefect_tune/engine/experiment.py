"""One experiment from plan to result: open everything, run the engine, close everything."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.engine.control import ControlWatch, Request
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.inbox import Inbox
from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.engine.observers import StepListener
from prefect_tune.engine.planning.initial_states import fingerprint
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.engine.resume.callback_states import CallbackStates
from prefect_tune.engine.resume.resume import Resumption, resume
from prefect_tune.engine.resume.snapshot import Position, StatefulParts
from prefect_tune.engine.resume.snapshot_writer import Snapshots
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.signals import HandlerOverride, Interruption, handle_signals
from prefect_tune.engine.trial_factory import make_trial_maker
from prefect_tune.engine.wiring import (
    coordinator_options,
    experiment_env,
    make_observers,
    make_output_hub,
)
from prefect_tune.execution.base import Executor, Paced
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.storage.experiment_dir import ExperimentDir
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.search_state import SearchStates
from prefect_tune.storage.snapshot_files import SnapshotFiles
from prefect_tune.trainable.tracked_checkpoint import locate_checkpoints

_logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 10.0
#: Thousands of trials take their time; it is over when nothing gets there any more.
_STORAGE_IDLE_S = 60.0
# With the grace of trials and their checkpoints below the 30 s that Prefect gives a flow run.
_INTERRUPTED_TIMEOUT_S = 8.0


class Experiment:
    """A planned experiment on an executor.

    Args:
        plan: What to run.
        executor: Where to run it; opened and closed by this object.

    Attributes:
        directory: The experiment directory; exists and is locked while the experiment is open.
        storage: Where it is kept.
        inbox: Where events arrive.
        output: Where what trials print arrives.
        interruption: What ended the run before its end, if anything did.
        on_control: Called when somebody has asked something of it: with what was done, in words,
            and who has asked.
    """

    def __init__(self, plan: ExperimentPlan, executor: Executor) -> None:
        self.plan = plan
        self.executor = executor
        self.inbox = Inbox()
        self.output = make_output_hub(plan)
        self.interruption = Interruption()
        self.on_control: Callable[[str, str], object] = lambda _what, _by: None
        with ExitStack() as opened:
            self.directory = ExperimentDir(
                plan.root, plan.name, plan.experiment_id, fresh=not plan.named
            )
            plan.name = self.directory.name
            opened.callback(self.directory.close)
            self.storage = ExperimentStorage(
                self.directory.path, plan.experiment_id, plan.places, on_lost=self.inbox.fail
            )
            plan.pickles = replace(
                plan.pickles, large=LargeValues(self.directory.path, self.storage.copy_there)
            )
            self._resumption: Resumption | None = None
            self._stateful_parts = StatefulParts(
                plan.scheduler,
                plan.stopper,
                plan.search_alg,
                fingerprint(plan.scheduler),
                fingerprint(plan.stopper),
            )
            self._callback_states = CallbackStates(plan.callbacks, self.directory, plan.pickles)
            self._restore_from = (
                None if plan.restore is None else plan.restore.in_place(self.directory.path)
            )
            self.coordinator = self._make_coordinator()
            self._exit = opened.pop_all()

    def _make_coordinator(self) -> Coordinator:
        plan = self.plan
        return Coordinator(
            plan.scheduler,
            plan.stopper,
            coordinator_options(
                plan, self.directory.path, self.storage.location, self._restore_from
            ),
            search_alg=plan.search_alg,
        )

    @property
    def trials(self) -> list[Trial]:
        """All trials so far."""
        return self.coordinator.get_trials()

    @property
    def origin(self) -> str:
        """Id of the experiment's first run; known once it is open."""
        resumed = self._resumption
        return self.plan.experiment_id if resumed is None else resumed.position.origin

    def open(self) -> None:
        """Read what there is of a resumed experiment, and open the executor.

        Raises:
            InvalidArgument: If a resumed experiment is another one than planned.
            StorageError: If the journal cannot be used.
            ClusterError: If the cluster cannot run it.
            InsufficientResources: If a trial asks for more than any node has.
        """
        plan = self.plan
        plan.initial_states.remember()
        self._exit.callback(plan.initial_states.release)
        self.storage.open(resume=plan.resume is not None)
        self._exit.callback(self._close_storage)
        self._journal = self.storage.journal
        locate_checkpoints(str(self.directory.path), self.storage.location)
        if plan.resume is not None:
            self._resumption = resume(
                plan,
                self._journal,
                self._stateful_parts,
                self._make_coordinator,
                self.storage.checkpoints,
            )
            if self._resumption is not None:
                self.coordinator = self._resumption.coordinator
                self._callback_states.restore()
        self._exit.callback(self.executor.close)
        if isinstance(self.executor, Paced):
            self.executor.pace(self.inbox)
        self.executor.open(
            experiment_env(plan, self.directory.path, self.storage.location),
            self.inbox.put,
            self.inbox.fail,
            self.output.put,
        )

    def run(
        self,
        launcher: AttemptLauncher,
        listeners: Sequence[StepListener] = (),
        override: HandlerOverride | None = None,
    ) -> None:
        """Run to the end, in the calling thread; closes everything.

        Args:
            launcher: Starts attempts.
            listeners: Told after each batch of events.
            override: For whoever has to know that the sweep handles signals.

        Raises:
            Exception: What ended the experiment early; everything reported so far is on disk.
        """
        with self._exit:
            resumption = self._resumption or self._new_run()
            position = resumption.position
            header = self.plan.header(time.time(), position.origin).encode()
            self._journal.append([header])
            self.storage.start()
            for path in resumption.found.useless:
                self.storage.delete_checkpoint(path)
            if self.coordinator.added_samples:
                self.plan.source.adjust(self.coordinator.added_samples, None)
            feed = SearchFeed(
                self.plan.source,
                make_trial_maker(self.plan, self.directory.path, self.trials),
                self.inbox.put,
                self.inbox.fail,
                position.suggested,
                position.told,
                every_s=self._checkpoint_every_s,
            )
            observers = make_observers(
                self.plan, listeners, resumption.backlog, self.storage.open_checkpoint, self.output
            )
            snapshots = Snapshots(
                position,
                self.coordinator,
                self._stateful_parts,
                self._callback_states,
                observers.mark,
                lambda: feed.can_save,
                self._checkpoint_every_s,
            )
            snapshots.opened(self.plan.experiment_id, header)
            self._engine = engine = Engine(
                EngineParts(
                    coordinator=self.coordinator,
                    inbox=self.inbox,
                    executor=self.executor,
                    launcher=launcher,
                    feed=feed,
                    journal=self._journal,
                    directory=self.directory,
                    log_policies=getattr(self.plan.scheduler, "log_config", False) is True,
                    storage=self.storage,
                    search_states=SearchStates(
                        self.directory.path, position.origin, self.plan.pickles
                    ),
                    snapshots=snapshots,
                    observers=observers,
                    pickles=self.plan.pickles,
                ),
                warn_pending_s=self.plan.settings.warn_insufficient_resources_s,
                warn_slow_s=self.plan.settings.warn_threshold_s,
                resource_help=self.plan.resource_help,
            )
            feed.start()
            sigint = not self.plan.settings.disable_sigint_handler
            failed: BaseException | None = None
            try:
                with (
                    handle_signals(engine.interrupt, sigint, override) as self.interruption,
                    ControlWatch(
                        self._places(),
                        self.coordinator,
                        self.inbox.put,
                        self.interrupt,
                        self._told,
                    ),
                ):
                    engine.run(
                        None if self._resumption is None else self.plan.resume,
                        resumption.found.saved,
                    )
            except BaseException as error:
                failed = error
                if not isinstance(error, Exception):
                    # The second Ctrl-C: what runs is not waited for.
                    self.executor.close()
                raise
            finally:
                with _behind(failed):
                    with ExitStack() as others:
                        # Whatever fails here, loggers are flushed, and task runs get their states.
                        others.callback(observers.close, self.coordinator)
                        others.callback(launcher.close, _CLOSE_TIMEOUT_S)
                        feed.close()
                        engine.save_search()
                    # Not if anything did: a snapshot counts on it that all results are logged.
                    snapshots.close()

    def interrupt(self, cause: str, *, out_of_time: bool = False) -> None:
        """End a run in order, as a signal does.

        Args:
            cause: Why, in words.
            out_of_time: That is a limit of time.
        """
        self.interruption.cause = cause
        self.interruption.out_of_time = out_of_time
        self._engine.interrupt(cause)

    def _places(self) -> list[Location]:
        here, there = Location(str(self.directory.path)), self.storage.location
        return [here] if there is None else [here, there]

    def _told(self, what: str, request: Request) -> None:
        _logger.info("%s: %s.", self.plan.name, what)
        self.on_control(what, request.by)

    def close(self) -> None:
        """Close what `open` opened, if `run` was never reached."""
        self._exit.close()

    def _close_storage(self) -> None:
        """Get everything into storage; whoever sent a signal does not wait for long."""
        asked_to_end = self.interruption.reason is not None
        self.storage.close(_STORAGE_IDLE_S, _INTERRUPTED_TIMEOUT_S if asked_to_end else None)

    def _new_run(self) -> Resumption:
        origin = self.plan.experiment_id
        files = SnapshotFiles(self.directory.path, self.plan.pickles)
        return Resumption(Position(origin, files), self.coordinator)

    @property
    def _checkpoint_every_s(self) -> float | None:
        chosen = self.plan.settings.global_checkpoint_s
        return None if isinstance(chosen, str) else chosen


@contextmanager
def _behind(first: BaseException | None) -> Iterator[None]:
    """Keep what fails at the end from hiding why the end has come, e.g. a full disk."""
    try:
        yield
    except Exception as error:
        if first is None or error is first:
            raise
        _logger.error("At the end of the sweep: %s", error)
