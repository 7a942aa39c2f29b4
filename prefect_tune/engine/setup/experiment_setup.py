"""The setup of an experiment: its validated arguments, as engine and orchestration read them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from prefect_tune.callback import Callback
from prefect_tune.config import CheckpointConfig, FailureConfig, ResumeConfig, RunConfig, TuneConfig
from prefect_tune.engine.setup.digests import code_digest, space_texts
from prefect_tune.engine.setup.initial_states import InitialStates
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.engine.setup.start_checkpoint import RestoreFrom
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.experiment.pickling.signing import Pickles
from prefect_tune.experiment.trial import TrialTerms
from prefect_tune.reporters.plain import DebuggingReporter
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.compatibility import SearchGenerator
from prefect_tune.search.source import TrialSource
from prefect_tune.search.wrapper import ConcurrencyLimiter, SearcherWrapper
from prefect_tune.settings import TuneSettings
from prefect_tune.stopper import Stopper
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.storage.storage_plan import StoragePlan
from prefect_tune.trainable.shipping.packing import TrainableSource
from prefect_tune.trainable.tracked_checkpoint import open_tracked
from prefect_tune.trainable.wrappers import requested_resources
from prefect_tune.validation import seconds_from


@dataclass
class ExperimentSetup:
    """A validated experiment.

    Attributes:
        request: What the user asked for; in place of a registered name it has the trainable itself.
        experiment_id: Unique id of this run.
        name: Name of the experiment and its directory.
        named: False if the name was generated, and may still change to one that is free.
        places: Where the experiment is kept on this machine and in storage.
        trainable: The packed trainable.
        source: The search.
        scheduler: The scheduler.
        stopper: The stopping criteria.
        metric: The metric that results are ranked by; None if none is given.
        mode: ``min`` or ``max``; None if none is given.
        checked_metrics: Metrics that must be in every result.
        resources: Resources of each trial; None if they depend on its configuration.
        callbacks: The user's callbacks and the loggers.
        failure: What happens when trials fail.
        settings: The settings in force.
        pickles: Signs pickles that are written, and decides which pickles may be loaded.
        stop_text: The stopping criteria as text.
        initial_states: The states of scheduler, searcher and stoppers before their use.
        restore: The checkpoint that trials start from; None starts them afresh.
        resume: Which trials of an earlier experiment run again; None begins a new one.
        origin: Id of the first run of the experiment to resume; None resumes any.
        one_by_one: True if trials run one after the other, for debugging.
        checkpoint_rules: When class trainables write checkpoints by themselves.
        checkpoints: Which checkpoints are retained.
        export_formats: In which formats trials export their models at their end.
    """

    request: ExperimentRequest
    experiment_id: str
    name: str
    named: bool
    places: StoragePlan
    trainable: TrainableSource
    source: TrialSource
    scheduler: TrialScheduler
    stopper: Stopper
    metric: str | None
    mode: str | None
    checked_metrics: tuple[str, ...]
    resources: Resources | None
    callbacks: list[Callback]
    failure: FailureConfig
    settings: TuneSettings
    pickles: Pickles
    stop_text: str = ""
    initial_states: InitialStates = field(default_factory=InitialStates)
    restore: RestoreFrom | None = None
    resume: ResumeConfig | None = None
    origin: str | None = None
    one_by_one: bool = False
    checkpoint_rules: CheckpointRules = field(default_factory=CheckpointRules)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    export_formats: tuple[str, ...] = ()

    @property
    def tune(self) -> TuneConfig:
        """How the search space is searched."""
        return self.request.tune_config

    @property
    def run(self) -> RunConfig:
        """How the experiment runs and where its results go."""
        return self.request.run_config

    def resources_for(self, config: dict[str, Any]) -> Resources:
        """Return the resources of a trial with a given configuration."""
        if self.resources is not None:
            return self.resources
        return Resources.parse(requested_resources(self.request.trainable)(config))

    @property
    def root(self) -> str:
        """The local directory in which experiment directories are made."""
        return self.places.root

    def for_debugging(self) -> ExperimentSetup:
        """Return a copy that runs trials one by one in this process, for a debugger."""
        shown = self.run.progress_reporter
        if shown is None and self.run.verbose != 0:
            shown = DebuggingReporter(self.run.verbose or 2)
        changed = self._with_run(isolation="thread", progress_reporter=shown)
        return replace(changed, one_by_one=True)

    def without_output(self) -> ExperimentSetup:
        """Return a copy that keeps trials' output off the console, unless the user asked for it."""
        if self.run.log_to_driver is not None:
            return self
        return self._with_run(log_to_driver=False)

    @cached_property
    def _code(self) -> str:
        """Digest of the trainable's code, which a resume asks for twice."""
        return code_digest(self.request.trainable)

    def _with_run(self, **changes: Any) -> ExperimentSetup:
        run = replace(self.run, **changes)
        return replace(self, request=replace(self.request, run_config=run))

    def header(self, time: float, origin: str) -> JournalHeader:
        """Return the journal's header for this run.

        Args:
            time: Seconds since the epoch.
            origin: Id of the run that is resumed, or of this one.
        """
        metric, mode = self.objectives
        return JournalHeader(
            experiment_id=self.experiment_id,
            origin=origin,
            name=self.name,
            time=time,
            trainable=self.trainable.name,
            code=self._code,
            search=_search_name(self.source),
            scheduler=type(self.scheduler).__name__,
            arguments={"metric": metric, "mode": mode, "seed": self.tune.seed},
            space=space_texts(self.request.param_space),
            stop=self.stop_text,
        )

    @property
    def sync_to_driver(self) -> bool:
        """Whether the driver fetches trial files from nodes without the experiment directory."""
        if self.settings.disable_auto_callback_syncer:
            return False
        return getattr(self.run.sync_config, "sync_to_driver", None) is not False

    @property
    def shows_output(self) -> bool:
        """Whether what trials print appears on the console."""
        chosen = self.run.log_to_driver
        return self.run.verbose != 0 and (self.settings.log_to_driver if chosen is None else chosen)

    @property
    def keeps_output_in_prefect(self) -> bool:
        """Whether what trials print appears in the logs of their task runs."""
        chosen = self.run.task_run_logs
        return self.orchestrate and (self.settings.task_run_logs if chosen is None else chosen)

    @property
    def trial_time_limit_s(self) -> float | None:
        """Seconds for which a trial may run; None is no limit, as in debugging."""
        limit = self.run.trial_time_limit_s
        if limit is None or self.one_by_one:
            return None
        return seconds_from("trial_time_limit_s", limit)

    @property
    def max_running(self) -> int | None:
        """How many trials may run at a time; None leaves it to the resources.

        The search limits only the trials that it suggests. A resume also runs earlier trials again,
        so the engine applies the user's limit to all of them.
        """
        algorithm = self.tune.search_alg
        if isinstance(algorithm, SearchGenerator):
            algorithm = algorithm.searcher
        limits = [self.one_by_one, self.tune.max_concurrent_trials or 0]
        if isinstance(algorithm, (BasicVariantGenerator, ConcurrencyLimiter)):
            limits.append(algorithm.max_concurrent)
        return min((int(limit) for limit in limits if limit), default=None)

    @property
    def orchestrate(self) -> bool:
        """Whether Prefect records the experiment."""
        chosen = self.run.orchestrate
        return self.settings.orchestrate if chosen is None else chosen

    @property
    def objectives(self) -> tuple[str | list[str] | None, str | list[str] | None]:
        """The metric and mode that trials are compared by.

        These are lists if the search optimises several metrics at a time; then no trial is best.
        """
        for owner in (self.tune, self.tune.search_alg):
            metric, mode = getattr(owner, "metric", None), getattr(owner, "mode", None)
            if isinstance(metric, (list, tuple)) and len(metric) > 1:
                return list(metric), list(mode) if isinstance(mode, (list, tuple)) else mode
        return self.metric, self.mode

    @property
    def trial_terms(self) -> TrialTerms:
        """The arguments of the experiment that users can read from each `Trial`."""
        kept, stop = self.checkpoints, self.run.stop
        least = "min-" if kept.checkpoint_score_order == "min" else ""
        ranked_by = kept.checkpoint_score_attribute
        return TrialTerms(
            stopping_criterion=dict(stop) if isinstance(stop, dict) else {},
            max_failures=self.failure.max_failures,
            checkpoint_freq=self.checkpoint_rules.frequency,
            checkpoint_at_end=self.checkpoint_rules.at_end,
            keep_checkpoints_num=kept.num_to_keep,
            checkpoint_score_attr=least + ranked_by if ranked_by else "training_iteration",
            open_checkpoint=open_tracked,
        )


def _search_name(source: TrialSource) -> str:
    """Return the name of the algorithm that makes suggestions, without its wrappers."""
    searcher = getattr(source, "searcher", None)
    while isinstance(searcher, SearcherWrapper):
        searcher = searcher.searcher
    return "random and grid search" if searcher is None else type(searcher).__name__
