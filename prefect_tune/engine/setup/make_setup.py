"""Makes an `ExperimentSetup` of a request: checks all arguments before anything is started."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import replace

from prefect_tune.config import CheckpointConfig, FailureConfig
from prefect_tune.engine.setup.digests import stable_text
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.engine.setup.initial_states import InitialStates, stoppers_in
from prefect_tune.engine.setup.parts import (
    experiment_name,
    make_callbacks,
    make_places,
    make_scheduler,
    metrics_of,
    mode_of,
    parse_resources,
    trials_to_resume,
)
from prefect_tune.engine.setup.request import ExperimentRequest, RerunRecord, identify
from prefect_tune.engine.setup.resume_mode import parse_resume
from prefect_tune.engine.setup.start_checkpoint import parse_restore
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.pickling.key import own_pickles
from prefect_tune.registry import get_trainable
from prefect_tune.schedulers import ResourceChangingScheduler
from prefect_tune.search import make_source
from prefect_tune.settings import TuneSettings
from prefect_tune.space.value_checks import check_nesting
from prefect_tune.stopper import make_stopper
from prefect_tune.trainable.checkpoint_rules import validate_checkpoint_rules
from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.shipping.packing import pack_trainable
from prefect_tune.trainable.trainable import has_own_formats, parse_export_formats


def make_setup(
    request: ExperimentRequest, settings: TuneSettings, rerun_record: RerunRecord | None = None
) -> ExperimentSetup:
    """Validate a request, and return the setup of its experiment.

    Args:
        request: The user's arguments.
        settings: The settings in force.
        rerun_record: Finds the experiment that this sweep has begun in an earlier execution of the
            surrounding flow run. With None, or with `request.resume` False, the sweep is new.

    Raises:
        InvalidArgument: If an argument is wrong; the message names it.
        TuneError: If the working directory was deleted: trials import from it.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise TuneError(
            "The working directory of this process was deleted. Change to one that exists "
            "(os.chdir) before you start the sweep."
        ) from error
    initial_states = InitialStates()
    try:
        return _make_setup(request, settings, rerun_record, initial_states)
    except BaseException:
        initial_states.restore()
        raise


def _make_setup(
    request: ExperimentRequest,
    settings: TuneSettings,
    rerun_record: RerunRecord | None,
    initial_states: InitialStates,
) -> ExperimentSetup:
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
    request = replace(request, param_space=space)
    resources = parse_resources(request)
    undated = registered is not None or settings.disable_dated_subdir
    folders, name = experiment_name(run.name, trainable.name, undated)
    places = make_places(run, settings, folders)
    named, mode, origin = run.name is not None or undated, request.resume, None
    if rerun_record is not None and request.resume is not False:
        sweep = identify(request, trainable.name, run.name and name)
        begun = rerun_record.look_up(places.permanent_location, sweep)
        if begun is not None:
            name, named, origin = begun.name, True, begun.origin
            mode = begun.resume_mode(request.resume, request.resume_config)
    resume = trials_to_resume(parse_resume(mode, request.resume_config), places, name)
    # A scheduler serves one experiment; a search may use in the next one what it has learnt.
    initial_states.add(tune.scheduler, restores=True, argument="scheduler")
    for part in (tune.search_alg, *stoppers_in(run.stop)):
        initial_states.add(part, restores=resume is not None)
    scheduler = make_scheduler(tune)
    if tune.reuse_actors and isinstance(scheduler, ResourceChangingScheduler):
        raise InvalidArgument(
            "reuse_actors",
            "ResourceChangingScheduler cannot be used with it: a process keeps its resources.",
            "Leave it out.",
        )
    try:
        source = make_source(
            tune.search_alg,
            space,
            tune.num_samples,
            metric=tune.metric,
            mode=tune.mode,
            max_concurrent=tune.max_concurrent_trials,
            seed=tune.seed,
            evaluated=tune.warm_start_from or (),
        )
    except InvalidArgument as error:
        raise error.renamed("param_space", request.space_argument) from error
    stopper = make_stopper(run.stop, tune.time_budget_s)
    metrics = metrics_of(tune.metric, scheduler, tune.search_alg)
    checkpoints = run.checkpoint_config or CheckpointConfig()
    return ExperimentSetup(
        request=request,
        experiment_id=uuid.uuid4().hex,
        name=name,
        named=named,
        places=places,
        trainable=trainable,
        source=source,
        scheduler=scheduler,
        stopper=stopper,
        metric=metrics[0] if metrics else None,
        mode=mode_of(tune.mode, scheduler, tune.search_alg),
        checked_metrics=() if settings.disable_strict_metric_checking else metrics,
        resources=resources,
        callbacks=make_callbacks(run.callbacks, settings, space),
        failure=run.failure_config or FailureConfig(),
        settings=settings,
        pickles=own_pickles(settings.signing_key, settings.trust_pickles),
        stop_text=stable_text(run.stop),
        initial_states=initial_states,
        restore=parse_restore(request.restore),
        resume=resume,
        origin=None if resume is None else origin,
        checkpoint_rules=validate_checkpoint_rules(
            request.trainable, checkpoints.checkpoint_frequency, checkpoints.checkpoint_at_end
        ),
        checkpoints=checkpoints,
        export_formats=parse_export_formats(
            request.export_formats,
            allow_others=has_own_formats(request.trainable),
        ),
    )
