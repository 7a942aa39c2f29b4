"""Makes a plan of what a user asked for: everything is checked before anything is started."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prefect_tune.callback import Callback, callbacks_of_environment
from prefect_tune.config import CheckpointConfig, FailureConfig, ResumeConfig, TuneConfig
from prefect_tune.engine.planning.argument_text import in_words, space_in_words
from prefect_tune.engine.planning.initial_states import FirstStates, stoppers_in
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.engine.planning.request import ExperimentRequest
from prefect_tune.engine.planning.rerun import SweepMemory
from prefect_tune.engine.planning.resume_mode import ResumeMode, decide, parse_resume
from prefect_tune.engine.planning.start_checkpoint import parse_restore
from prefect_tune.engine.planning.sweep_identity import identify
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.key import own_pickles
from prefect_tune.filesystem.location import Location
from prefect_tune.logger import TBXLoggerCallback, default_loggers
from prefect_tune.registry import get_trainable
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler, create_scheduler
from prefect_tune.search import make_source
from prefect_tune.settings import TuneSettings
from prefect_tune.space.value_checks import check_nesting
from prefect_tune.stopper import make_stopper
from prefect_tune.storage.fetch import is_resumable
from prefect_tune.storage.layout import (
    LONGEST_NAME,
    default_root,
    experiment_dir_name,
    is_directory_name,
    safe_name,
)
from prefect_tune.storage.storage_plan import StoragePlan, make_storage_plan
from prefect_tune.trainable.export import export_formats
from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.rules import validate_checkpoint_rules
from prefect_tune.trainable.shipping.packing import pack_trainable
from prefect_tune.trainable.shipping.source_digest import code_digest
from prefect_tune.trainable.trainable import has_own_formats
from prefect_tune.trainable.wrappers import requested_resources


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
    if isinstance(space, Mapping):
        check_nesting(space, request.space_argument)
    resources = _resources(request)
    undated = registered is not None or settings.disable_dated_subdir
    folders, name = _experiment_name(run.name, trainable.name, undated)
    places = make_storage_plan(
        storage_path=run.storage_path,
        local_dir=run.local_dir,
        storage_filesystem=run.storage_filesystem,
        sync_config=run.sync_config,
        default_root=default_root(settings.result_dir),
        cloud_sync_s=settings.cloud_sync_s,
        global_checkpoint_s=settings.global_checkpoint_s,
    ).below(folders)
    named, mode, origin = run.name is not None or undated, request.resume, None
    if memory is not None and request.resume is not False:
        sweep = identify(request, trainable.name, run.name and name)
        begun = memory.recall(places.kept_in, sweep)
        if begun is not None:
            name, named, origin = begun.name, True, begun.origin
            mode = begun.resume_mode(request.resume, request.resume_config)
    resume = _resume(parse_resume(mode, request.resume_config), places, name)
    # A scheduler judges the trials of one experiment; what a search has learnt serves the next.
    first_states.add(tune.scheduler, takes_back=True, argument="scheduler")
    for part in (tune.search_alg, *stoppers_in(run.stop)):
        first_states.add(part, takes_back=resume is not None)
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
        callbacks=_callbacks(run.callbacks, settings, space),
        failure=run.failure_config or FailureConfig(),
        tune=tune,
        run=run,
        settings=settings,
        pickles=own_pickles(settings.signing_key, settings.trust_pickles),
        code=code_digest(request.trainable),
        space_in_words=space_in_words(space),
        stop_in_words=in_words(run.stop),
        first_states=first_states,
        restore=parse_restore(request.restore),
        resume=resume,
        origin=None if resume is None else origin,
        checkpoint_rules=validate_checkpoint_rules(
            request.trainable, checkpoints.checkpoint_frequency, checkpoints.checkpoint_at_end
        ),
        checkpoints=checkpoints,
        export_formats=export_formats(
            request.export_formats,
            allow_others=has_own_formats(request.trainable),
        ),
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
            f"`metric`/`mode` are given to the experiment, and {type(scheduler).__name__} has them "
            "already.",
            "Give them in one place only, and each experiment a scheduler of its own.",
        )
    return scheduler


def _experiment_name(name: str | None, trainable: str, undated: bool) -> tuple[str, str]:
    """Directories below the storage path, and the name of the experiment's directory in them."""
    if name is None:
        dated = safe_name(trainable) if undated else experiment_dir_name(trainable, time.time())
        return "", dated
    if not isinstance(name, str) or not all(map(is_directory_name, name.split("/"))):
        raise InvalidArgument(
            "name",
            f"got {name!r}.",
            f"It names a directory, or one in others as 'group/name', of at most {LONGEST_NAME} "
            "bytes each.",
        )
    folders, _, last = name.rpartition("/")
    return folders, last


def _metrics(metric: Any, scheduler: TrialScheduler, search_alg: Any) -> tuple[str, ...]:
    names: list[str] = []
    for owner in (metric, scheduler.metric, getattr(search_alg, "metric", None)):
        for name in owner if isinstance(owner, (list, tuple)) else [owner]:
            if isinstance(name, str) and name not in names:
                names.append(name)
    return tuple(names)


def _mode(mode: Any, scheduler: TrialScheduler, search_alg: Any) -> str | None:
    # Schedulers of users' own may have any attributes; if there is a `mode`, it is this.
    own = getattr(scheduler, "metric_mode", None) or getattr(scheduler, "mode", None)
    for owner in (mode, own, getattr(search_alg, "mode", None)):
        for name in owner if isinstance(owner, (list, tuple)) else [owner]:
            if isinstance(name, str):
                return name
    return None


def _callbacks(given: Any, settings: TuneSettings, space: Mapping[str, Any]) -> list[Callback]:
    callbacks = list(given or [])
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InvalidArgument(
                "callbacks", f"got {callback!r}.", "Give a list of `Callback` objects."
            )
    callbacks += callbacks_of_environment()
    if not settings.disable_auto_callback_loggers:
        callbacks = default_loggers(callbacks)
    for callback in callbacks:
        if isinstance(callback, TBXLoggerCallback):
            callback.know_space(space)
    return callbacks
