"""One experiment from plan to result: open everything, run the engine, close everything."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.callback_states import CallbackStates
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.inbox import Inbox
from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.engine.naming import TrialMaker
from prefect_tune.engine.observers import Observers, StepListener
from prefect_tune.engine.output_hub import OutputHub
from prefect_tune.engine.plan import ExperimentPlan
from prefect_tune.engine.pristine import fingerprint
from prefect_tune.engine.resume import resume
from prefect_tune.engine.resumer import Resumption
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.signals import Interruption, StandIn, handle_signals
from prefect_tune.engine.snapshot_state import Deciders, Position
from prefect_tune.engine.snapshots import Snapshots
from prefect_tune.execution.base import Executor, ExperimentEnv, Paced
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.logger.worker import Backlog
from prefect_tune.pickling.large import LargeValues
from prefect_tune.reporters import TrialOutputPrinter, make_reporter, result_lines
from prefect_tune.results.checkpoints import open_checkpoint
from prefect_tune.results.tracked_checkpoint import locate_checkpoints
from prefect_tune.storage.experiment_dir import ExperimentDir
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.storage.search_state import SearchStates
from prefect_tune.storage.snapshot_files import SnapshotFiles
from prefect_tune.trainable.output import OutputFiles

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
    """

    def __init__(self, plan: ExperimentPlan, executor: Executor) -> None:
        self.plan = plan
        self.executor = executor
        self.inbox = Inbox()
        self.output = OutputHub(
            TrialOutputPrinter(plan.trainable.name) if plan.shows_output else None
        )
        self.interruption = Interruption()
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
            self._deciders = Deciders(
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
            CoordinatorOptions(
                trainable_name=plan.trainable.name,
                local_experiment_dir=str(self.directory.path),
                metrics=plan.checked_metrics,
                max_failures=plan.failure.max_failures,
                fail_fast=plan.fail_fast,
                lookahead=plan.settings.lookahead or plan.source.lookahead or 1,
                search_wants_results=plan.source.wants_results,
                max_running=plan.max_running,
                checkpoint_keep=plan.checkpoints.num_to_keep,
                checkpoint_score_attribute=plan.checkpoints.checkpoint_score_attribute,
                checkpoint_score_order=plan.checkpoints.checkpoint_score_order,
                saves_at_end=plan.checkpoint_rules.at_end,
                must_store=plan.sync_to_driver or self.storage.location is not None,
                restore_from=self._restore_from,
                max_lost=plan.settings.lost_before_failure,
                retry_delay_s=plan.settings.retry_delay_s,
                trial_time_limit_s=plan.trial_time_limit_s,
                stop_patience_s=0 if plan.one_by_one else plan.settings.stop_patience_s,
                cleanup_s=0 if plan.one_by_one else plan.settings.force_trial_cleanup_s,
                terms=plan.trial_terms,
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
        plan.first_states.remember()
        self._exit.callback(plan.first_states.release)
        self.storage.open(resume=plan.resume is not None)
        self._exit.callback(self._close_storage)
        self._journal = self.storage.journal
        locate_checkpoints(str(self.directory.path), self.storage.location)
        if plan.resume is not None:
            self._resumption = resume(
                plan,
                self._journal,
                self._deciders,
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
            ExperimentEnv(
                experiment_id=plan.experiment_id,
                experiment_name=plan.name,
                trainable=plan.trainable,
                experiment_dir=str(self.directory.path),
                isolation=plan.run.isolation,
                start_method=plan.settings.start_method,
                seed=plan.tune.seed,
                stop_grace_s=plan.settings.stop_grace_s,
                lease_s=plan.settings.lease_s,
                env_vars={
                    **plan.settings.trial_variables(plan.tune.chdir_to_trial_dir),
                    **plan.run.env_vars,
                },
                storage=self.storage.location,
                checkpoint_rules=plan.checkpoint_rules,
                storage_timeout_s=plan.places.timeout_s,
                sync_to_driver=plan.sync_to_driver,
                sync_period_s=plan.places.period_s,
                reuse_processes=plan.reuse_processes,
                export_formats=plan.export_formats,
                output_files=OutputFiles.parse(plan.run.log_to_file),
                follow_output=plan.shows_output or plan.keeps_output_in_prefect,
            ),
            self.inbox.put,
            self.inbox.fail,
            self.output.put,
        )

    def run(
        self,
        launcher: AttemptLauncher,
        listeners: Sequence[StepListener] = (),
        stand_in: StandIn | None = None,
    ) -> None:
        """Run to the end, in the calling thread; closes everything.

        Args:
            launcher: Starts attempts.
            listeners: Told after each batch of events.
            stand_in: For whoever has to know that the sweep handles signals.

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
            feed = SearchFeed(
                self.plan.source,
                self._trial_maker(),
                self.inbox.put,
                self.inbox.fail,
                position.suggested,
                position.told,
                every_s=self._checkpoint_every_s,
            )
            observers = self._observers(listeners, resumption.backlog)
            snapshots = Snapshots(
                position,
                self.coordinator,
                self._deciders,
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
                with handle_signals(engine.interrupt, sigint, stand_in) as self.interruption:
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

    def _trial_maker(self) -> TrialMaker:
        tune = self.plan.tune
        return TrialMaker(
            self.plan.trainable.name,
            str(self.directory.path),
            self.plan.resources_for,
            TrialDirNamer(
                self.directory.path,
                self.plan.settings.max_len_identifier,
                (trial.relative_logdir for trial in self.trials),
            ),
            tune.trial_name_creator,
            tune.trial_dirname_creator,
        )

    def _observers(
        self, listeners: Sequence[StepListener], backlog: Sequence[Backlog]
    ) -> Observers:
        plan = self.plan
        total = plan.source.total()
        reporter = make_reporter(
            plan.run.verbose,
            plan.run.progress_reporter,
            metric=plan.metric,
            mode=plan.mode,
            start_time=time.time(),
            total_samples=total,
        )
        info: dict[str, Any] = {
            "stop": {} if plan.run.stop is None else plan.run.stop,
            "time_budget_s": plan.tune.time_budget_s,
            "num_samples": plan.tune.num_samples,
            "total_num_samples": total,
        }
        lines = result_lines(plan.run.verbose, plan.metric)
        callbacks = plan.callbacks if lines is None else [*plan.callbacks, lines]
        return Observers(
            callbacks,
            reporter,
            listeners,
            info,
            backlog,
            self.open_checkpoint,
            plan.scheduler.debug_string,
            self.output.show,
            plan.settings.log_callback_errors,
        )

    def open_checkpoint(self, saved: TrialCheckpoint) -> Checkpoint:
        """A checkpoint as callbacks and users hold it."""
        return open_checkpoint(saved, self.storage.location or Location(str(self.directory.path)))


@contextmanager
def _behind(first: BaseException | None) -> Iterator[None]:
    """Keep what fails at the end from hiding why the end has come, e.g. a full disk."""
    try:
        yield
    except Exception as error:
        if first is None or error is first:
            raise
        _logger.error("At the end of the sweep: %s", error)
