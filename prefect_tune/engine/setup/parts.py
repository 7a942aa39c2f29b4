"""Functions that make the parts of an experiment's setup from the user's arguments."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prefect_tune.callback import Callback, callbacks_of_environment
from prefect_tune.config import ResumeConfig, RunConfig, TuneConfig
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.engine.setup.resume_mode import ResumeMode, choose_trials
from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.location import Location
from prefect_tune.logger import TBXLoggerCallback, default_loggers
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler, create_scheduler
from prefect_tune.settings import TuneSettings
from prefect_tune.storage.fetch import is_resumable
from prefect_tune.storage.layout import (
    LONGEST_NAME,
    default_root,
    experiment_dir_name,
    is_directory_name,
    safe_name,
)
from prefect_tune.storage.storage_plan import StoragePlan, make_storage_plan
from prefect_tune.trainable.wrappers import requested_resources


def make_scheduler(tune: TuneConfig) -> TrialScheduler:
    """Return the user's scheduler, which is an object or a name, with its metric and mode set."""
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
    spec = {} if tune.seed is None else {"seed": tune.seed}
    if not scheduler.set_search_properties(metric, mode, **spec):
        raise InvalidArgument(
            "metric",
            f"`metric`/`mode` are given to the experiment, and {type(scheduler).__name__} has them "
            "already.",
            "Give them in one place only, and each experiment a scheduler of its own.",
        )
    return scheduler


def metrics_of(metric: Any, scheduler: TrialScheduler, search_alg: Any) -> tuple[str, ...]:
    """Return all metrics that the experiment, its scheduler or its search optimises."""
    given = (metric, scheduler.metric, getattr(search_alg, "metric", None))
    return tuple(dict.fromkeys(_names_in(given)))


def mode_of(mode: Any, scheduler: TrialScheduler, search_alg: Any) -> str | None:
    """Return the mode of the experiment, else that of its scheduler, else that of its search."""
    # A user's scheduler class has no `metric_mode`, but may have a `mode` attribute.
    own = getattr(scheduler, "metric_mode", None) or getattr(scheduler, "mode", None)
    return next(_names_in((mode, own, getattr(search_alg, "mode", None))), None)


def _names_in(given: Iterable[Any]) -> Iterator[str]:
    """Yield the texts among arguments that are a text, several, or something else."""
    for one in given:
        for name in one if isinstance(one, (list, tuple)) else [one]:
            if isinstance(name, str):
                yield name


def make_callbacks(given: Any, settings: TuneSettings, space: Mapping[str, Any]) -> list[Callback]:
    """Return the user's callbacks, those of the environment, and the default loggers."""
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
            callback.set_search_space(space)
    return callbacks


def parse_resources(request: ExperimentRequest) -> Resources | None:
    """Return the resources of each trial; None if they depend on its configuration."""
    own = requested_resources(request.trainable)
    if own is None:
        return Resources.parse(request.resources_per_trial)
    if request.resources_per_trial is not None:
        raise InvalidArgument(
            "resources_per_trial",
            "the trainable defines its own, by `with_resources` or `default_resource_request`.",
            "Give them in one place only.",
        )
    return None if callable(own) else Resources.parse(own)


def trials_to_resume(
    mode: ResumeMode | None, places: StoragePlan, name: str
) -> ResumeConfig | None:
    """Return which trials of an earlier run go on; None for a new run."""
    if mode is None:
        return None
    here, there = Location(places.root) / name, places.location_of(name)
    found = mode.place != "REMOTE" and is_resumable(here)
    if not found and there is not None:
        found = is_resumable(there)
    return choose_trials(mode, found, str(here if there is None else there))


def experiment_name(name: str | None, trainable: str, undated: bool) -> tuple[str, str]:
    """Split the experiment's name into parent directories and the name of its own directory."""
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


def make_places(run: RunConfig, settings: TuneSettings, folders: str) -> StoragePlan:
    """Return where the experiment is kept on this machine and in storage."""
    return make_storage_plan(
        storage_path=run.storage_path,
        local_dir=run.local_dir,
        storage_filesystem=run.storage_filesystem,
        sync_config=run.sync_config,
        default_root=default_root(settings.result_dir),
        cloud_sync_s=settings.cloud_sync_s,
        global_checkpoint_s=settings.global_checkpoint_s,
    ).in_folder(folders)
