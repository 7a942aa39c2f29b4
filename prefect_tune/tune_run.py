"""`tune.run`: run trials of a trainable, and return an `ExperimentAnalysis`."""

from __future__ import annotations

import datetime
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from prefect_tune._ray.without_effect import check_other_arguments
from prefect_tune.callback import Callback
from prefect_tune.config import (
    CheckpointConfig,
    FailureConfig,
    ResumeConfig,
    RunConfig,
    TuneConfig,
)
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import ExperimentInterrupted, InvalidArgument, TrialFailed
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiments import Experiment, convert_to_experiment_list
from prefect_tune.logger import with_loggers
from prefect_tune.registry import get_trainable, is_registered
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.runner import execute, run_several, run_sweeps_in_thread
from prefect_tune.trainable.checkpoint_rules import drop_rules_of_functions
from prefect_tune.validation import check_flag

#: Arguments of `run` that are not passed on when its first argument is an `Experiment`.
_EXPERIMENT_ARGUMENTS = ("run_or_experiment", "others")


def run(
    run_or_experiment: Any,
    name: str | None = None,
    metric: str | list[str] | None = None,
    mode: str | list[str] | None = None,
    stop: Any = None,
    time_budget_s: float | datetime.timedelta | None = None,
    config: dict[str, Any] | None = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    local_dir: str | None = None,
    search_alg: Any = None,
    scheduler: Any = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    verbose: int | None = None,
    progress_reporter: Any = None,
    log_to_file: bool | str | tuple[str, str] = False,
    trial_name_creator: Callable[[Any], str] | None = None,
    trial_dirname_creator: Callable[[Any], str] | None = None,
    sync_config: Any = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: Any = None,
    resume: bool | str | None = None,
    reuse_actors: bool | None = None,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Callback] | None = None,
    max_concurrent_trials: int | None = None,
    *,
    loggers: Sequence[Any] | None = None,
    storage_path: Any = None,
    storage_filesystem: Any = None,
    checkpoint_config: CheckpointConfig | None = None,
    resume_config: ResumeConfig | None = None,
    export_formats: Sequence[str] | None = None,
    cluster: Any = None,
    orchestrate: bool | None = None,
    isolation: str = "process",
    seed: int | None = None,
    trial_time_limit_s: float | datetime.timedelta | None = None,
    chdir_to_trial_dir: bool | None = None,
    env_vars: dict[str, str] | None = None,
    warm_start_from: Any = None,
    **others: Any,
) -> ExperimentAnalysis:
    """Run trials of a trainable over a search space.

    Args:
        run_or_experiment: A function ``f(config)`` that reports with `tune.report`, yields or
            returns its metrics; a `Trainable` class; the name that `register_trainable` gave one of
            them; an `Experiment`, whose own arguments win; or a list of experiments, which run at
            the same time, each with copies of its own of scheduler and search.
        name: Name of the experiment and its directory; None makes ``<trainable>_<date>``.
        metric: Name of the metric to optimise.
        mode: ``min`` or ``max``.
        stop: When to stop trials: ``{metric: threshold}`` (>=), a function ``(trial_id, result)``,
            a `Stopper`, or a list of stoppers.
        time_budget_s: Seconds (or a timedelta) after which everything stops.
        config: The search space: constants, domains, grids, nested dicts and lists.
        resources_per_trial: ``{"cpu": 0.5, "gpu": 1, "custom": 2}`` or a `PlacementGroupFactory`;
            default one CPU.
        num_samples: How often the space is sampled (the grid repeated); -1 without end.
        local_dir: Ray 2.0's name for `storage_path`.
        search_alg: A `Searcher` or its name; default random search and grids.
        scheduler: A `TrialScheduler` or its name; default FIFO.
        keep_checkpoints_num: How many checkpoints of each trial are kept.
        checkpoint_score_attr: Metric that ranks checkpoints; ``min-`` in front inverts.
        checkpoint_freq: Checkpoint every so many iterations; no effect for functions, which write
            checkpoints by themselves.
        checkpoint_at_end: Checkpoint at the end; no effect for functions.
        verbose: 0 silent, 1 status, 2 and brief results, 3 and full results.
        progress_reporter: A `ProgressReporter`.
        log_to_file: Files for what trials print: True, one name, or two; see `RunConfig`.
        trial_name_creator: ``f(trial) -> str``.
        trial_dirname_creator: ``f(trial) -> str``.
        sync_config: Where the experiment is copied to and how often, a `SyncConfig`; `storage_path`
            with a URL says the same.
        max_failures: Retries of each failed trial; -1 without end.
        fail_fast: True stops all trials at the first failure; ``"raise"`` raises it at once.
        restore: A checkpoint that the first attempt of every trial starts from: its directory, its
            URL, or a `Checkpoint`.
        resume: Whether to go on with the experiment of this `name` and `storage_path`: give the
            arguments it had, or more (`num_samples`, `time_budget_s`). Finished trials are not
            repeated, failed ones stay failed, and those that were running go on from their newest
            checkpoints. True or ``"LOCAL"`` takes what this machine or the storage has, and is an
            error if there is none; ``"REMOTE"`` insists on what is in storage; ``"AUTO"`` begins a
            new experiment if there is none; ``"PROMPT"`` asks on the terminal first. ``+ERRORED``
            behind them runs failed trials again from their newest checkpoints,
            ``+RESTART_ERRORED`` from scratch, and ``+ERRORED_ONLY`` and ``+RESTART_ERRORED_ONLY``
            run nothing else. ``"ERRORED_ONLY"`` is ``"LOCAL+RESTART_ERRORED_ONLY"``. None, the
            default, begins a new experiment, but goes on with what a flow run has begun when
            Prefect executes it again; False never does.
        reuse_actors: True keeps the process and the object of a class trainable for further trials
            with the same resources: its `reset_config` is called in place of `setup`, and has to
            return True. Functions get a fresh process in any case, which costs milliseconds here.
        raise_on_failed_trial: Raise `TrialFailed` at the end if a trial failed.
        callbacks: `Callback` objects; CSV, JSON and TensorBoard loggers are added.
        loggers: Ray Tune 1's classes of loggers, one object of each for each trial; see `Logger`.
        max_concurrent_trials: Upper bound of running trials.
        storage_path: Where the experiment is kept: a local path, a URL (``s3://bucket/path``) or a
            `TuneStorage` block; default `TUNE_RESULT_DIR` or ``~/prefect_tune_results``.
        storage_filesystem: An fsspec file system that `storage_path` is a path on.
        checkpoint_config: The same as the single arguments about checkpoints.
        resume_config: Which trials of a resumed experiment run again; says the same as what is
            behind the ``+`` of `resume`.
        export_formats: Have class trainables export their models at their end: names of
            `ExportFormat`, passed to `Trainable.export_model`.
        cluster: Where to run: None (the cluster of `tune.init`, else this machine), an address
            ``tcp://...``, a Dask cluster or a ``distributed.Client``.
        orchestrate: Record the experiment as a Prefect flow run; default
            `PREFECT_TUNE_ORCHESTRATE`, which is on.
        isolation: ``process`` (each trial its own) or ``thread``.
        seed: Seeds random search and the random state of every trial.
        trial_time_limit_s: Seconds (or a timedelta) for which a trial may run; see `RunConfig`.
        chdir_to_trial_dir: Whether trial processes work in the trial's directory; default
            `RAY_CHDIR_TO_TRIAL_DIR`, which is on.
        env_vars: Environment variables for every trial; win over the computed ones.
        warm_start_from: Earlier results to learn from: experiments, tables, Optuna studies; see
            `WarmStart`.
        **others: Arguments that Ray Tune had at one time: either needless here, or an error that
            says what to give instead.

    Returns:
        The trials and their results.

    Raises:
        InvalidArgument: Before any trial starts, if an argument cannot work.
        TypeError: If there is no such argument.
        ClusterError: If the cluster cannot be reached or does not fit.
        PrefectUnavailable: If a Prefect API is configured but does not answer.
        TrialFailed: At the end, if a trial failed and `raise_on_failed_trial`.
        ExperimentInterrupted: If Ctrl-C, a signal or the end of the flow run ended it; has the
            results so far. `PREFECT_TUNE_RAISE_ON_INTERRUPT=0` returns them instead.
    """
    given = dict(locals())
    check_other_arguments(others, inspect.signature(run).parameters)
    check_flag("raise_on_failed_trial", raise_on_failed_trial)
    if isinstance(run_or_experiment, (Experiment, list, tuple)):
        experiments = convert_to_experiment_list(run_or_experiment)
        if not experiments:
            raise InvalidArgument(
                "trainable", "the list of experiments is empty.", "Give at least one."
            )
        given["callbacks"], given["loggers"] = with_loggers(callbacks, loggers), None
        return _run_experiments(experiments, given)
    finished = execute(_request(given))
    failed = [trial for trial in finished.analysis.trials if trial.status == trial.ERROR]
    if failed and (raise_on_failed_trial or len(failed) == len(finished.analysis.trials)):
        finished.record_failure()
    if raise_on_failed_trial and not finished.interrupted:
        _raise_if_failed(finished.analysis)
    return finished.analysis


def make_request(trainable: Any, **arguments: Any) -> ExperimentRequest:
    """Return the request that `run` makes from the same arguments.

    Raises:
        InvalidArgument: If an argument has a wrong value.
        TypeError: If there is no such argument.
    """
    signature = inspect.signature(run)
    bound = signature.bind(trainable, **arguments)
    bound.apply_defaults()
    check_other_arguments(bound.arguments["others"], signature.parameters)
    return _request(bound.arguments)


def _request(given: Mapping[str, Any]) -> ExperimentRequest:
    """Make a request of the arguments of `run`."""
    trainable = given["run_or_experiment"]
    named = isinstance(trainable, str) and is_registered(trainable)
    frequency, at_end = drop_rules_of_functions(
        get_trainable(trainable) if named else trainable,
        given["checkpoint_freq"],
        given["checkpoint_at_end"],
    )
    single = {name: given[name] for name in ("keep_checkpoints_num", "checkpoint_score_attr")}
    run_config = {f.name: given[f.name] for f in fields(RunConfig) if f.name in given}
    run_config |= {
        "callbacks": with_loggers(given["callbacks"], given["loggers"]),
        "failure_config": FailureConfig(given["max_failures"], given["fail_fast"]),
        "checkpoint_config": _checkpoint_config(
            given["checkpoint_config"],
            **single,
            checkpoint_freq=frequency,
            checkpoint_at_end=at_end,
        ),
        "env_vars": {} if given["env_vars"] is None else given["env_vars"],
    }
    names = ("resources_per_trial", "resume", "resume_config", "restore", "export_formats")
    return ExperimentRequest(
        trainable=trainable,
        param_space=given["config"],
        tune_config=TuneConfig(**{f.name: given[f.name] for f in fields(TuneConfig)}),
        run_config=RunConfig(**run_config),
        space_argument="config",
        **{name: given[name] for name in names},
    )


async def arun(*args: Any, **kwargs: Any) -> ExperimentAnalysis:
    """Call `run` from a coroutine, such as an async flow: ``await tune.arun(train, config=...)``.

    The sweep runs in a thread of its own, so the event loop goes on. If the task that awaits it is
    cancelled, the sweep ends in order first, as with a signal.

    Args:
        *args: Positional arguments of `run`.
        **kwargs: Keyword arguments of `run`.

    Returns:
        The trials and their results.

    Raises:
        Exception: As `run`.
    """
    return await run_sweeps_in_thread(functools.partial(run, *args, **kwargs))


def run_experiments(
    experiments: Any,
    *,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    **arguments: Any,
) -> list[Trial]:
    """Run several experiments, and return all their trials.

    Each one gets copies of the given scheduler, searcher and stoppers; callbacks are shared.
    Together they use no more of the cluster than one experiment would.

    Args:
        experiments: An `Experiment`, a list of them, or a dict name -> specification such as
            ``{"train": {"run": train, "config": {...}, "stop": {...}, "num_samples": 2}}``.
        raise_on_failed_trial: Raise `TrialFailed` at the end if a trial failed.
        concurrent: True runs them at the same time, False one by one.
        **arguments: `scheduler`, `verbose`, `progress_reporter`, `resume`, `reuse_actors`,
            `callbacks` and others of `run`, for each experiment.

    Returns:

        The trials of all experiments.

    Raises:
        Exception: As `run`.
    """
    found = convert_to_experiment_list(experiments)
    if not found:
        raise InvalidArgument("experiments", "there is none.", "Give at least one.")
    given = {**arguments, "raise_on_failed_trial": raise_on_failed_trial}
    return _run_experiments(found, given, concurrent).trials


def _run_experiments(
    experiments: Sequence[Experiment], given: dict[str, Any], concurrent: bool = True
) -> ExperimentAnalysis:
    """Run experiments with their own arguments, and else those of the call; merge the results."""
    raises = given.get("raise_on_failed_trial", True)
    given = {name: value for name, value in given.items() if name not in _EXPERIMENT_ARGUMENTS}
    if len(experiments) == 1:
        (experiment,) = experiments
        return run(experiment.trainable, **{**given, **experiment.own_arguments})
    given["raise_on_failed_trial"] = False
    try:
        merged = _merge_analyses(run_several(run, experiments, given, concurrent))
    except ExperimentInterrupted as error:
        raise ExperimentInterrupted(str(error), _merge_analyses(error.analysis)) from None
    if raises:
        _raise_if_failed(merged)
    return merged


def _merge_analyses(analyses: Sequence[ExperimentAnalysis]) -> ExperimentAnalysis:
    return ExperimentAnalysis(
        analyses[0].experiment_path,
        trials=[trial for analysis in analyses for trial in analysis.trials],
        default_metric=analyses[0].default_metric,
        default_mode=analyses[0].default_mode,
    )


def _raise_if_failed(analysis: ExperimentAnalysis) -> None:
    failed = [trial for trial in analysis.trials if trial.status == trial.ERROR]
    if failed:
        raise TrialFailed(
            f"{len(failed)} of {len(analysis.trials)} trials failed; the first, "
            f"{failed[0]}:\n{failed[0].error_msg}\nResults: {analysis.experiment_path}",
            failed,
        )


#: `run`'s names for the fields of `CheckpointConfig`.
_CHECKPOINT_FIELDS = {
    "keep_checkpoints_num": "num_to_keep",
    "checkpoint_score_attr": "checkpoint_score_attribute",
    "checkpoint_freq": "checkpoint_frequency",
    "checkpoint_at_end": "checkpoint_at_end",
}


def _checkpoint_config(config: Any, **arguments: Any) -> Any:
    """Return the given `checkpoint_config`, or one made of the single arguments of `run`."""
    if config is not None:
        return config
    try:
        return CheckpointConfig(**{_CHECKPOINT_FIELDS[k]: v for k, v in arguments.items()})
    except InvalidArgument as error:
        for argument, field in _CHECKPOINT_FIELDS.items():
            if error.argument == field:
                raise error.renamed(field, argument) from None
        raise
