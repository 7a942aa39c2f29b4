"""Configuration dataclasses for users, with Ray's names and fields."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from prefect_tune.error import InvalidArgument
from prefect_tune.trainable.output import OutputFiles
from prefect_tune.validation import (
    check_callable,
    check_count,
    check_flag,
    check_metric_name,
    check_mode,
    check_not_blank,
    check_type,
    seconds_from,
)

if TYPE_CHECKING:
    from prefect_tune.callback import Callback


@dataclass
class FailureConfig:
    """How failed trials are retried, and whether a failure ends the sweep.

    Args:
        max_failures: Retries of each trial; -1 has no limit.
        fail_fast: True stops all other trials at the first failed one; ``"raise"`` raises its
            exception at once.

    Raises:
        InvalidArgument: If a value is wrong, or if both are given.
    """

    max_failures: int = 0
    fail_fast: bool | str = False

    def __post_init__(self) -> None:
        if isinstance(self.fail_fast, str):
            self.fail_fast = self.fail_fast.lower()
        if self.fail_fast not in (True, False, "raise"):
            raise InvalidArgument(
                "fail_fast", f"got {self.fail_fast!r}.", 'It is True, False or "raise".'
            )
        check_count("max_failures", self.max_failures, at_least=-1)
        if self.fail_fast and self.max_failures != 0:
            raise InvalidArgument(
                "fail_fast",
                f"it cannot be combined with max_failures={self.max_failures}.",
                "Give only one of the two.",
            )


@dataclass
class CheckpointConfig:
    """When checkpoints are written, and how many are kept.

    Args:
        num_to_keep: How many checkpoints of each trial are kept; None keeps all.
        checkpoint_score_attribute: The metric that ranks checkpoints; None ranks by age.
        checkpoint_score_order: ``max`` or ``min``.
        checkpoint_frequency: Number of iterations between checkpoints (class trainables).
        checkpoint_at_end: Whether a trial writes a checkpoint at its end (class trainables); None
            does so for classes that can save one. (The default of `run` is False, as in Ray Tune.)

    Raises:
        InvalidArgument: If a value is wrong.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool | None = None

    def __post_init__(self) -> None:
        if self.num_to_keep is not None:
            check_count("num_to_keep", self.num_to_keep, at_least=1)
        attribute = self.checkpoint_score_attribute
        if attribute is not None:
            check_metric_name("checkpoint_score_attribute", attribute)
            if attribute.startswith("min-"):
                # Ray 1's way to say it, in `run(checkpoint_score_attr=)`.
                self.checkpoint_score_order = "min"
                self.checkpoint_score_attribute = attribute.removeprefix("min-")
        check_mode(self.checkpoint_score_order, "checkpoint_score_order")
        check_count("checkpoint_frequency", self.checkpoint_frequency, at_least=0)
        if self.checkpoint_at_end is not None:
            check_flag("checkpoint_at_end", self.checkpoint_at_end)


class ResumeType(StrEnum):
    """What happens to a trial when its experiment is resumed."""

    RESUME = "resume"  #: they run on, from their newest checkpoint if they have one
    RESTART = "restart"  #: they run again, from scratch
    SKIP = "skip"  #: they stay as they are


# The class below has an attribute of the same name, as Ray Tune's has.
_Type = ResumeType


@dataclass(frozen=True)
class ResumeConfig:
    """Which trials of a resumed experiment run again.

    Args:
        finished: What happens to trials that have ended without an error.
        unfinished: What happens to trials that were running, paused or waiting. With ``SKIP`` the
            search is not asked for more trials either: only `finished` and `errored` trials run.
        errored: What happens to trials that have failed for good.

    Raises:
        InvalidArgument: If a value is not a `ResumeType` or its name.
    """

    ResumeType: ClassVar[type[_Type]] = _Type

    finished: _Type | str = _Type.SKIP
    unfinished: _Type | str = _Type.RESUME
    errored: _Type | str = _Type.SKIP

    def __post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            value = getattr(self, name)
            try:
                kind = _Type(str(value).lower())
            except ValueError:
                raise InvalidArgument(
                    name, f"got {value!r}.", 'It is "resume", "restart" or "skip".'
                ) from None
            object.__setattr__(self, name, kind)


@dataclass(frozen=True)
class WarmStart:
    """Earlier results that a search learns from, for `TuneConfig.warm_start_from`.

    Args:
        source: The directory or URL of an experiment of this package or of Ray Tune; an
            `ExperimentAnalysis` or `ResultGrid`; the storage URL of an Optuna study, or the study;
            a CSV file, a DataFrame, or a list of dicts. Tables have a row for each trial and a
            column for each parameter ("lr", "config/lr" or "params_lr").
        metric: The metric's name there; None if it is the same.
        names: Names of parameters there that are others in the new space, ``{"old": "new"}``.
        study_name: The study, if a storage of Optuna has several.
    """

    source: Any
    metric: str | list[str] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    study_name: str | None = None


@dataclass
class TuneConfig:
    """How the search space is searched: metric, search algorithm, scheduler, number of samples.

    Args:
        metric: Name of the metric to optimise (a list for several objectives).
        mode: ``min`` or ``max`` (a list alike).
        search_alg: A `Searcher`, or its name; None samples at random and expands grids.
        scheduler: A `TrialScheduler`, or its name; None is FIFO.
        num_samples: How often the space is sampled (the grid repeated); -1 has no limit.
        max_concurrent_trials: Upper bound of running trials; None or 0 leaves it to resources.
        time_budget_s: Seconds (or a timedelta) after which the experiment stops.
        reuse_actors: True keeps the process and the object of a class trainable for further trials
            with the same resources: its `reset_config` is called in place of `setup`, and has to
            return True. Functions get a fresh process in any case, which costs milliseconds here.
        trial_name_creator: ``f(trial) -> str``, returns the trial's name.
        trial_dirname_creator: ``f(trial) -> str``, returns the name of the trial's directory.
        seed: Seeds random search and the random state of every trial.
        chdir_to_trial_dir: Whether trial processes work in the trial's directory; None asks
            `RAY_CHDIR_TO_TRIAL_DIR`, which is on.
        warm_start_from: Earlier results to learn from: what `WarmStart` takes, or a list of such
            sources. Configurations outside of the search space are left out. A search that cannot
            learn from results tries the ten best ones first.
    """

    metric: str | list[str] | None = None
    mode: str | list[str] | None = None
    search_alg: Any = None
    scheduler: Any = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | datetime.timedelta | None = None
    reuse_actors: bool | None = None
    trial_name_creator: Callable[[Any], str] | None = None
    trial_dirname_creator: Callable[[Any], str] | None = None
    seed: int | None = None
    chdir_to_trial_dir: bool | None = None
    warm_start_from: Any = None

    def __post_init__(self) -> None:
        for mode in self.mode if isinstance(self.mode, (list, tuple)) else [self.mode]:
            if mode is not None:
                check_mode(mode)
        if self.metric is not None:
            several = isinstance(self.metric, (list, tuple)) and self.metric
            for metric in self.metric if several else [self.metric]:
                check_metric_name("metric", metric)
        for name in ("trial_name_creator", "trial_dirname_creator"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name), "f(trial) -> str")
        if self.seed is not None:
            check_count("seed", self.seed, at_least=0)
        for name in ("reuse_actors", "chdir_to_trial_dir"):
            if getattr(self, name) is not None:
                check_flag(name, getattr(self, name))


@dataclass
class RunConfig:
    """How the experiment runs and where its results go.

    Args:
        name: Name of the experiment and its directory; ``group/name`` is one in a directory of the
            storage path, None makes a dated one.
        storage_path: Where the experiment is kept: a local path, a URL that fsspec knows
            (``s3://bucket/path``), or a `TuneStorage` block (the object, or
            ``block://tune-storage/NAME``); default `TUNE_RESULT_DIR` or ``~/prefect_tune_results``.
        local_dir: Ray 2.0's name for a local `storage_path`; beside a remote one, where the
            experiment is worked on.
        callbacks: `Callback` objects.
        stop: Stopping criteria: dict, function, `Stopper` or a list of stoppers.
        failure_config: What happens when trials fail.
        checkpoint_config: Which checkpoints are written and kept.
        sync_config: Where the experiment is copied to and how often, a `SyncConfig`; `storage_path`
            with a URL says the same.
        progress_reporter: A `ProgressReporter`; None picks one for the terminal or pipe.
        verbose: 0 silent, 1 status, 2 and brief results, 3 and full results.
        log_to_file: Files that standard output and standard error of trials are appended to: True
            means ``stdout`` and ``stderr`` in the trial's directory, one name is a file for both,
            two are one for each. An absolute path is shared by all trials of a node. With False
            output is kept as with True, but files that stay empty are removed. Trials in threads
            (also in local mode) print to the console; with anything but False to the files, too,
            but for native code, subprocesses and threads of their own.
        log_to_driver: Whether what trials print also appears on the console, behind
            ``(trainable pid=...)``; None asks `PREFECT_TUNE_LOG_TO_DRIVER` (yes).
        task_run_logs: Whether it also appears in the logs of the attempt's Prefect task run; None
            asks `PREFECT_TUNE_TASK_RUN_LOGS` (no).
        orchestrate: Record the experiment in Prefect; None asks `PREFECT_TUNE_ORCHESTRATE`.
        cluster: Where to run: None (this machine), an address, a Dask cluster, a Client, a
            `DaskCluster` block, or ``block://dask-cluster/NAME``.
        isolation: ``process`` (each trial its own), or ``thread``.
        env_vars: Environment variables for every trial; win over the computed ones. They are kept
            encrypted.
        storage_filesystem: An fsspec file system that `storage_path` is a path on.
        trial_time_limit_s: Seconds (or a timedelta) for which a trial may run, all its attempts
            together; waiting does not count. A trial over it is asked to end, gets SIGTERM after
            `PREFECT_TUNE_STOP_GRACE_S` (10 s) and SIGKILL 5 s later. It keeps what it has reported
            by then and is TERMINATED; one that has reported nothing has failed (ERROR), and is not
            tried again. A trial in a thread cannot be killed and is left behind.
    """

    name: str | None = None
    storage_path: Any = None
    local_dir: str | None = None
    callbacks: Sequence[Callback] | None = None
    stop: Any = None
    failure_config: FailureConfig | None = None
    checkpoint_config: CheckpointConfig | None = None
    sync_config: Any = None
    progress_reporter: Any = None
    verbose: int | None = None
    log_to_file: bool | str | tuple[str, str] = False
    orchestrate: bool | None = None
    cluster: Any = None
    isolation: str = "process"
    env_vars: dict[str, str] = field(default_factory=dict, repr=False)
    storage_filesystem: Any = None
    trial_time_limit_s: float | datetime.timedelta | None = None
    log_to_driver: bool | None = None
    task_run_logs: bool | None = None

    def __post_init__(self) -> None:
        if self.isolation not in ("process", "thread"):
            raise InvalidArgument(
                "isolation", f"got {self.isolation!r}.", 'It is "process" or "thread".'
            )
        if isinstance(self.cluster, str):
            check_not_blank("cluster", self.cluster, "an address such as 'tcp://10.0.0.1:8786'")
        if self.verbose is not None and self.verbose not in (0, 1, 2, 3):
            raise InvalidArgument("verbose", f"got {self.verbose!r}.", "It is 0, 1, 2 or 3.")
        if self.trial_time_limit_s is not None:
            seconds_from("trial_time_limit_s", self.trial_time_limit_s)
        OutputFiles.parse(self.log_to_file)
        for name in ("orchestrate", "log_to_driver", "task_run_logs"):
            if getattr(self, name) is not None:
                check_flag(name, getattr(self, name))
        if self.failure_config is not None:
            check_type("failure_config", self.failure_config, FailureConfig, "a FailureConfig")
        if self.checkpoint_config is not None:
            right = "a CheckpointConfig"
            check_type("checkpoint_config", self.checkpoint_config, CheckpointConfig, right)
        if self.callbacks is not None:
            right = "a list of `Callback` objects"
            check_type("callbacks", self.callbacks, Sequence, right)
        self._check_env_vars()

    def _check_env_vars(self) -> None:
        check_type("env_vars", self.env_vars, Mapping, "a dict of strings")
        for name, value in self.env_vars.items():
            if (
                not _can_be_variable(name)
                or "=" in name
                or not (value == "" or _can_be_variable(value))
            ):
                raise InvalidArgument(
                    "env_vars",
                    # The value may be a secret.
                    f"{name!r} cannot be an environment variable with this {type(value).__name__}.",
                    "Names and values are strings without NUL, and names have no '='.",
                )


def _can_be_variable(text: Any) -> bool:
    """Return True for a string that can be the name or value of an environment variable."""
    try:
        return isinstance(text, str) and text != "" and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
