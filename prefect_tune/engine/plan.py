"""Everything about an experiment that can be checked before anything is started."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_tune.arguments import seconds_from
from prefect_tune.callback import Callback, callbacks_of_environment
from prefect_tune.config import CheckpointConfig, FailureConfig, ResumeConfig, RunConfig, TuneConfig
from prefect_tune.coordinator.options import FailFast
from prefect_tune.engine.memory import SweepMemory
from prefect_tune.engine.pristine import FirstStates, stoppers_in
from prefect_tune.engine.request import ExperimentRequest
from prefect_tune.engine.restore_from import RestoreFrom, parse_restore
from prefect_tune.engine.resume_mode import ResumeMode, decide, parse_resume
from prefect_tune.engine.wording import in_words, space_in_words
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.filesystem.location import Location
from prefect_tune.logger import default_loggers
from prefect_tune.registry import get_trainable
from prefect_tune.reporters.debugging import DebuggingReporter
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler, create_scheduler
from prefect_tune.search import make_source
from prefect_tune.search.source import TrialSource
from prefect_tune.search.wrapper import SearcherWrapper
from prefect_tune.settings import TuneSettings
from prefect_tune.stopper import Stopper, make_stopper
from prefect_tune.storage.continuation import is_resumable
from prefect_tune.storage.header import JournalHeader
from prefect_tune.storage.layout import (
    LONGEST_NAME,
    default_root,
    experiment_dir_name,
    is_directory_name,
    safe_name,
)
from prefect_tune.storage.storage_plan import StoragePlan, make_storage_plan
from prefect_tune.trainable.export import export_formats
from prefect_tune.trainable.fingerprint import code_digest
from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.packing import pack_trainable
from prefect_tune.trainable.rules import validate_checkpoint_rules
from prefect_tune.trainable.source import TrainableSource
from prefect_tune.trainable.wrappers import requested_resources


@dataclass
class ExperimentPlan:
    """A validated experiment.

    Attributes:
        experiment_id: Unique id of this run.
        name: Name of the experiment and its directory.
        named: False if the name was made up, and may still change to one that is free.
        places: Where the experiment lies, on this machine and in storage.
        trainable: The packed trainable.
        source: The search.
        search_alg: The searcher object, for schedulers that ask for it.
        scheduler: The scheduler.
        stopper: The stopping criteria.
        metric: What results are ranked by, None if nobody said.
        mode: ``min`` or ``max``, None if nobody said.
        checked_metrics: Metrics that must be in every result.
        resources: What a trial asks for; None if that depends on its configuration.
        resources_for: What a trial with a given configuration asks for.
        callbacks: The user's callbacks and the loggers.
        failure: What happens when trials fail.
        tune: The user's `TuneConfig`.
        run: The user's `RunConfig`.
        settings: The settings in force.
        code: Digest of the trainable's source, "" if unknown.
        space_in_words: The parameters of the search space by path.
        stop_in_words: The stopping criteria.
        first_states: Scheduler, searcher and stoppers as the user gave them.
        restore: The checkpoint that trials start from; None starts them afresh.
        resume: Which trials of an earlier experiment run again; None begins a new one.
        one_by_one: True if trials run one after the other, for debugging.
        checkpoint_rules: Which checkpoints trials write unasked.
        checkpoints: Which checkpoints are kept.
        export_formats: In which formats trials export their models at their end.
        reuse_processes: Whether a trial process runs one trial after the other.
        resource_help: What the trainable has to say to trials of a configuration that wait.
    """

    experiment_id: str
    name: str
    named: bool
    places: StoragePlan
    trainable: TrainableSource
    source: TrialSource
    search_alg: Any
    scheduler: TrialScheduler
    stopper: Stopper
    metric: str | None
    mode: str | None
    checked_metrics: tuple[str, ...]
    resources: Resources | None
    resources_for: Callable[[dict[str, Any]], Resources]
    callbacks: list[Callback]
    failure: FailureConfig
    tune: TuneConfig
    run: RunConfig
    settings: TuneSettings
    code: str = ""
    space_in_words: dict[str, str] = field(default_factory=dict)
    stop_in_words: str = ""
    first_states: FirstStates = field(default_factory=FirstStates)
    restore: RestoreFrom | None = None
    resume: ResumeConfig | None = None
    one_by_one: bool = False
    checkpoint_rules: CheckpointRules = field(default_factory=CheckpointRules)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    export_formats: tuple[str, ...] = ()
    reuse_processes: bool = False
    resource_help: Callable[[dict[str, Any]], str] | None = None

    @property
    def root(self) -> str:
        """The local directory in which experiment directories are made."""
        return self.places.root

    def for_debugging(self) -> ExperimentPlan:
        """The same with trials one by one, in this process, where breakpoints work."""
        run = replace(self.run, isolation="thread")
        if run.progress_reporter is None and run.verbose != 0:
            run.progress_reporter = DebuggingReporter(run.verbose or 2)
        return replace(self, run=run, one_by_one=True)

    def without_output(self) -> ExperimentPlan:
        """The same with what trials print not on the console, unless the run itself asks for it."""
        if self.run.log_to_driver is not None:
            return self
        return replace(self, run=replace(self.run, log_to_driver=False))

    def header(self, time: float, origin: str) -> JournalHeader:
        """The journal's header for this run.

        Args:
            time: Seconds since the epoch.
            origin: Id of the run that is resumed, or of this one.
        """
        return JournalHeader(
            experiment_id=self.experiment_id,
            origin=origin,
            name=self.name,
            time=time,
            trainable=self.trainable.name,
            code=self.code,
            search=_search_name(self.source),
            scheduler=type(self.scheduler).__name__,
            arguments={
                "`metric`": in_words(self.metric),
                "`mode`": in_words(self.mode),
                "`seed`": in_words(self.tune.seed),
            },
            space=self.space_in_words,
            stop=self.stop_in_words,
        )

    @property
    def sync_to_driver(self) -> bool:
        """Whether files of nodes that do not see the experiment directory are fetched."""
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
        """Seconds for which a trial may run; who debugs one takes the time that it takes."""
        limit = self.run.trial_time_limit_s
        if limit is None or self.one_by_one:
            return None
        return seconds_from("trial_time_limit_s", limit)

    @property
    def orchestrate(self) -> bool:
        """Whether Prefect records the experiment."""
        chosen = self.run.orchestrate
        return self.settings.orchestrate if chosen is None else chosen

    @property
    def one_objective(self) -> bool:
        """False if the search weighs metrics against each other: no trial is the best then."""
        metrics = (self.tune.metric, getattr(self.search_alg, "metric", None))
        return not any(isinstance(metric, (list, tuple)) and len(metric) > 1 for metric in metrics)

    @property
    def fail_fast(self) -> FailFast:
        """The user's `fail_fast`."""
        if self.failure.fail_fast == "raise":
            return FailFast.RAISE
        return FailFast.STOP if self.failure.fail_fast else FailFast.OFF


def make_plan(
    request: ExperimentRequest, settings: TuneSettings, memory: SweepMemory | None = None
) -> ExperimentPlan:
    """Validate a request.

    Args:
        request: What the user asked for.
        settings: The settings in force.
        memory: Knows which experiment this sweep has begun, if the surrounding flow run is being
            executed again. None, and `request.resume` False, is a new sweep.

    Raises:
        InvalidArgument: If anything cannot work; names the argument.
    """
    first_states = FirstStates()
    try:
        return _make_plan(request, settings, memory, first_states)
    except BaseException:
        first_states.give_back()
        raise


def _make_plan(
    request: ExperimentRequest,
    settings: TuneSettings,
    memory: SweepMemory | None,
    first_states: FirstStates,
) -> ExperimentPlan:
    tune, run = request.tune_config, request.run_config
    registered = request.trainable if isinstance(request.trainable, str) else None
    if registered is not None:
        request = replace(request, trainable=get_trainable(registered))
    validate_trainable(request.trainable)
    trainable = pack_trainable(request.trainable, registered)
    space = {} if request.param_space is None else request.param_space
    if not isinstance(space, Mapping) and hasattr(space, "to_dict"):
        space = space.to_dict()
    resources = _resources(request)
    undated = registered is not None or settings.disable_dated_subdir
    name = _experiment_name(run.name, trainable.name, undated)
    places = make_storage_plan(
        storage_path=run.storage_path,
        local_dir=run.local_dir,
        storage_filesystem=run.storage_filesystem,
        sync_config=run.sync_config,
        default_root=default_root(settings.result_dir),
        cloud_sync_s=settings.cloud_sync_s,
        global_checkpoint_s=settings.global_checkpoint_s,
    )
    named, mode = run.name is not None or undated, request.resume
    if memory is not None and request.resume is not False:
        begun = memory.recall(places.kept_in, trainable.name, run.name)
        if begun is not None:
            name, named = begun.name, True
            mode = begun.resume_mode(request.resume, request.resume_config)
    resume = _resume(parse_resume(mode, request.resume_config), places, name)
    for part in (tune.scheduler, tune.search_alg, *stoppers_in(run.stop)):
        first_states.add(part, resumes=resume is not None)
    scheduler = _make_scheduler(tune)
    try:
        source = make_source(
            tune.search_alg,
            space,
            tune.num_samples,
            metric=tune.metric,
            mode=tune.mode,
            max_concurrent=tune.max_concurrent_trials,
            seed=tune.seed,
        )
    except InvalidArgument as error:
        raise error.renamed("param_space", request.space_argument) from error
    stopper = make_stopper(run.stop, tune.time_budget_s)
    metrics = _metrics(tune.metric, scheduler, tune.search_alg)
    checkpoints = run.checkpoint_config or CheckpointConfig()
    return ExperimentPlan(
        experiment_id=uuid.uuid4().hex,
        name=name,
        named=named,
        places=places,
        trainable=trainable,
        source=source,
        search_alg=tune.search_alg,
        scheduler=scheduler,
        stopper=stopper,
        metric=metrics[0] if metrics else None,
        mode=_mode(tune.mode, scheduler, tune.search_alg),
        checked_metrics=() if settings.disable_strict_metric_checking else metrics,
        resources=resources,
        resources_for=_resources_for(request.trainable, resources),
        callbacks=_callbacks(run.callbacks, settings),
        failure=run.failure_config or FailureConfig(),
        tune=tune,
        run=run,
        settings=settings,
        code=code_digest(request.trainable),
        space_in_words=space_in_words(space),
        stop_in_words=in_words(run.stop),
        first_states=first_states,
        restore=parse_restore(request.restore),
        resume=resume,
        checkpoint_rules=validate_checkpoint_rules(
            request.trainable, checkpoints.checkpoint_frequency, checkpoints.checkpoint_at_end
        ),
        checkpoints=checkpoints,
        export_formats=export_formats(request.export_formats),
        reuse_processes=bool(tune.reuse_actors) and inspect.isclass(request.trainable),
        resource_help=getattr(request.trainable, "resource_help", None),
    )


def _resume(mode: ResumeMode | None, places: StoragePlan, name: str) -> ResumeConfig | None:
    """Which trials of an earlier run go on, None for a new run."""
    if mode is None:
        return None
    here, there = Location(places.root) / name, places.of(name)
    found = mode.place != "REMOTE" and is_resumable(here)
    if not found and there is not None:
        found = is_resumable(there)
    return decide(mode, found, str(here if there is None else there))


def _search_name(source: TrialSource) -> str:
    """Which algorithm makes the suggestions, whatever limits or repeats them."""
    searcher = getattr(source, "searcher", None)
    while isinstance(searcher, SearcherWrapper):
        searcher = searcher.searcher
    return "random and grid search" if searcher is None else type(searcher).__name__


def _resources(request: ExperimentRequest) -> Resources | None:
    own = requested_resources(request.trainable)
    if own is None:
        return Resources.parse(request.resources_per_trial)
    if request.resources_per_trial is not None:
        raise InvalidArgument(
            "resources_per_trial",
            "the trainable has its own, by `with_resources` or `default_resource_request`.",
            "Give them in one place only.",
        )
    return None if callable(own) else Resources.parse(own)


def _resources_for(
    trainable: object, resources: Resources | None
) -> Callable[[dict[str, Any]], Resources]:
    if resources is not None:
        return lambda config: resources
    own = requested_resources(trainable)
    return lambda config: Resources.parse(own(config))


def _make_scheduler(tune: TuneConfig) -> TrialScheduler:
    given = tune.scheduler
    if given is None:
        return FIFOScheduler()
    scheduler = create_scheduler(given) if isinstance(given, str) else given
    if not isinstance(scheduler, TrialScheduler):
        raise InvalidArgument(
            "scheduler", f"got {given!r}.", 'Give a TrialScheduler or a name such as "asha".'
        )
    metric = tune.metric if isinstance(tune.metric, str) else None
    mode = tune.mode if isinstance(tune.mode, str) else None
    if not scheduler.set_search_properties(metric, mode):
        raise InvalidArgument(
            "metric",
            f"`metric`/`mode` are given to the experiment and to {type(scheduler).__name__}.",
            "Give them in one place only.",
        )
    return scheduler


def _experiment_name(name: str | None, trainable: str, undated: bool) -> str:
    if name is None:
        return safe_name(trainable) if undated else experiment_dir_name(trainable, time.time())
    if not isinstance(name, str) or not is_directory_name(name):
        raise InvalidArgument(
            "name",
            f"got {name!r}.",
            f"It names a directory: a string without '/', of at most {LONGEST_NAME} bytes.",
        )
    return name


def _metrics(metric: Any, scheduler: TrialScheduler, search_alg: Any) -> tuple[str, ...]:
    names: list[str] = []
    for owner in (metric, scheduler.metric, getattr(search_alg, "metric", None)):
        for name in owner if isinstance(owner, (list, tuple)) else [owner]:
            if isinstance(name, str) and name not in names:
                names.append(name)
    return tuple(names)


def _mode(mode: Any, scheduler: TrialScheduler, search_alg: Any) -> str | None:
    for owner in (mode, getattr(scheduler, "mode", None), getattr(search_alg, "mode", None)):
        for name in owner if isinstance(owner, (list, tuple)) else [owner]:
            if isinstance(name, str):
                return name
    return None


def _callbacks(given: Any, settings: TuneSettings) -> list[Callback]:
    callbacks = list(given or [])
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InvalidArgument(
                "callbacks", f"got {callback!r}.", "Give a list of `Callback` objects."
            )
    callbacks += callbacks_of_environment()
    return callbacks if settings.disable_auto_callback_loggers else default_loggers(callbacks)
