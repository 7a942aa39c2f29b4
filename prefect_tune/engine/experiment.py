"""One experiment from plan to result: open everything, run the engine, close everything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.inbox import Inbox
from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.engine.naming import TrialMaker
from prefect_tune.engine.observers import Observers, StepListener
from prefect_tune.engine.plan import ExperimentPlan
from prefect_tune.engine.resume import Resumption, resume
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.signals import Interruption, StandIn, handle_signals
from prefect_tune.execution.base import Executor, ExperimentEnv
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.worker import Backlog
from prefect_tune.reporters import make_reporter
from prefect_tune.storage.experiment_dir import ExperimentDir
from prefect_tune.storage.journal import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.storage.search_state import SearchStates

_CLOSE_TIMEOUT_S = 10.0


class Experiment:
    """A planned experiment on an executor.

    Args:
        plan: What to run.
        executor: Where to run it; opened and closed by this object.

    Attributes:
        directory: The experiment directory; exists and is locked while the experiment is open.
        inbox: Where events arrive.
        interruption: Which signal ended the run, if one did.
    """

    def __init__(self, plan: ExperimentPlan, executor: Executor) -> None:
        self.plan = plan
        self.executor = executor
        self.inbox = Inbox()
        self.interruption = Interruption()
        self._exit = ExitStack()
        self.directory = ExperimentDir(
            plan.root, plan.name, plan.experiment_id, fresh=not plan.named
        )
        plan.name = self.directory.name
        self._exit.callback(self.directory.close)
        self._resumption: Resumption | None = None
        self.coordinator = Coordinator(
            plan.scheduler,
            plan.stopper,
            CoordinatorOptions(
                trainable_name=plan.trainable.name,
                local_experiment_dir=str(self.directory.path),
                metrics=plan.checked_metrics,
                max_failures=plan.failure.max_failures,
                fail_fast=plan.fail_fast,
                lookahead=plan.settings.max_pending_trials or plan.source.lookahead or 1,
                search_wants_results=plan.source.wants_results,
                max_running=1 if plan.one_by_one else None,
            ),
            search_alg=plan.search_alg,
        )

    @property
    def trials(self) -> list[Trial]:
        """All trials so far."""
        return self.coordinator.get_trials()

    def open(self) -> None:
        """Read what there is of a resumed experiment, and open the executor.

        Raises:
            InvalidArgument: If a resumed experiment is another one than planned.
            StorageError: If the journal cannot be used.
            ClusterError: If the cluster cannot run it.
            InsufficientResources: If a trial asks for more than any node has.
        """
        plan = self.plan
        self._journal = LocalJournal(self.directory.path / JOURNAL_FILE)
        self._exit.callback(self._journal.close)
        if plan.resume is not None:
            self._resumption = resume(plan, self._journal, self.coordinator)
        self._exit.callback(self.executor.close)
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
                env_vars=dict(plan.run.env_vars),
            ),
            self.inbox.put,
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
            resumption = self._resumption or Resumption(self.plan.experiment_id)
            self._journal.append([self.plan.header(time.time(), resumption.origin).encode()])
            feed = SearchFeed(
                self.plan.source,
                self._trial_maker(),
                self.inbox.put,
                self.inbox.fail,
                resumption.suggested,
                resumption.told,
            )
            observers = self._observers(listeners, resumption.backlog)
            engine = Engine(
                EngineParts(
                    coordinator=self.coordinator,
                    inbox=self.inbox,
                    executor=self.executor,
                    launcher=launcher,
                    feed=feed,
                    journal=self._journal,
                    directory=self.directory,
                    search_states=SearchStates(self.directory.path, resumption.origin),
                    observers=observers,
                ),
                warn_pending_s=self.plan.settings.warn_insufficient_resources_s,
            )
            feed.start()
            sigint = not self.plan.settings.disable_sigint_handler
            try:
                with handle_signals(engine.interrupt, sigint, stand_in) as self.interruption:
                    engine.run(resumed=self._resumption is not None)
            finally:
                feed.close()
                engine.save_search()
                launcher.close(_CLOSE_TIMEOUT_S)
                observers.close(self.coordinator)

    def close(self) -> None:
        """Close what `open` opened, if `run` was never reached."""
        self._exit.close()

    def _trial_maker(self) -> TrialMaker:
        tune = self.plan.tune
        return TrialMaker(
            self.plan.trainable.name,
            str(self.directory.path),
            self.plan.resources_for,
            TrialDirNamer(self.directory.path),
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
            "stop": plan.run.stop,
            "num_samples": plan.tune.num_samples,
            "total_num_samples": total,
        }
        return Observers(plan.callbacks, reporter, listeners, info, backlog)
