"""Hyper-parameter tuning as Prefect flows on Dask clusters, with Ray Tune's API.

``import prefect_tune as tune`` gives every public name. Names are loaded when they are first used:
importing the package itself imports neither Prefect nor Dask nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from prefect_tune import parse_lock
from prefect_tune._ray import names_to_come, paths
from prefect_tune._version import __version__

if TYPE_CHECKING:
    from prefect_tune.callback import Callback
    from prefect_tune.checkpoint.checkpoint import Checkpoint
    from prefect_tune.config import (
        CheckpointConfig,
        FailureConfig,
        ResumeConfig,
        RunConfig,
        TuneConfig,
    )
    from prefect_tune.error import ExperimentInterrupted, TuneError
    from prefect_tune.execution.cluster.api import init, is_initialized, shutdown
    from prefect_tune.experiments import Experiment
    from prefect_tune.registry import register_env, register_trainable
    from prefect_tune.reporters import CLIReporter, JupyterNotebookReporter, ProgressReporter
    from prefect_tune.resources import PlacementGroupFactory
    from prefect_tune.results import Analysis, ExperimentAnalysis, Result, ResultGrid
    from prefect_tune.schedulers import create_scheduler
    from prefect_tune.search import create_searcher
    from prefect_tune.space import (
        choice,
        grid_search,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from prefect_tune.stopper import EarlyStopping as EarlyStopping
    from prefect_tune.stopper import Stopper
    from prefect_tune.storage.sync.sync_config import SyncConfig
    from prefect_tune.trainable.durable import DurableTrainable, durable
    from prefect_tune.trainable.export import ExportFormat
    from prefect_tune.trainable.legacy import function
    from prefect_tune.trainable.session import (
        TuneContext,
        checkpoint_dir,
        get_checkpoint,
        get_context,
        get_trial_dir,
        get_trial_id,
        get_trial_name,
        get_trial_resources,
        is_session_enabled,
        make_checkpoint_dir,
        report,
        save_checkpoint,
    )
    from prefect_tune.trainable.trainable import Trainable
    from prefect_tune.trainable.wrappers import with_parameters, with_resources
    from prefect_tune.tune import run, run_experiments
    from prefect_tune.tuner import Tuner

paths.install()
names_to_come.install()
parse_lock.install()

#: Where each public name lives.
_HOMES: dict[str, tuple[str, ...]] = {
    "prefect_tune.callback": ("Callback",),
    "prefect_tune.checkpoint.checkpoint": ("Checkpoint",),
    "prefect_tune.config": (
        "CheckpointConfig",
        "FailureConfig",
        "ResumeConfig",
        "RunConfig",
        "TuneConfig",
    ),
    "prefect_tune.error": ("ExperimentInterrupted", "TuneError"),
    "prefect_tune.execution.cluster.api": ("init", "is_initialized", "shutdown"),
    "prefect_tune.experiments": ("Experiment",),
    "prefect_tune.registry": ("register_env", "register_trainable"),
    "prefect_tune.reporters": ("CLIReporter", "JupyterNotebookReporter", "ProgressReporter"),
    "prefect_tune.resources": ("PlacementGroupFactory",),
    "prefect_tune.results": ("Analysis", "ExperimentAnalysis", "Result", "ResultGrid"),
    "prefect_tune.tune": ("run", "run_experiments"),
    "prefect_tune.schedulers": ("create_scheduler",),
    "prefect_tune.search": ("create_searcher",),
    "prefect_tune.space": (
        "choice",
        "grid_search",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ),
    "prefect_tune.stopper": ("EarlyStopping", "Stopper"),
    "prefect_tune.storage.sync.sync_config": ("SyncConfig",),
    "prefect_tune.trainable.durable": ("DurableTrainable", "durable"),
    "prefect_tune.trainable.export": ("ExportFormat",),
    "prefect_tune.trainable.legacy": ("function",),
    "prefect_tune.trainable.session": (
        "TuneContext",
        "checkpoint_dir",
        "get_checkpoint",
        "get_context",
        "get_trial_dir",
        "get_trial_id",
        "get_trial_name",
        "get_trial_resources",
        "is_session_enabled",
        "make_checkpoint_dir",
        "report",
        "save_checkpoint",
    ),
    "prefect_tune.trainable.trainable": ("Trainable",),
    "prefect_tune.trainable.wrappers": ("with_parameters", "with_resources"),
    "prefect_tune.tuner": ("Tuner",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
#: Modules that scripts reach as attributes: `tune.schedulers.ASHAScheduler`.
_MODULES = frozenset(
    {
        "air",
        "analysis",
        "callback",
        "context",
        "error",
        "experiment",
        "integration",
        "logger",
        "progress_reporter",
        "registry",
        "resources",
        "result",
        "result_grid",
        "sample",
        "schedulers",
        "search",
        "session",
        "space",
        "stopper",
        "suggest",
        "track",
        "syncer",
        "train",
        "trainable",
        "trial",
        "tune",
        "utils",
        "tune_config",
        "tuner",
    }
)

__all__ = [
    "Analysis",
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "DurableTrainable",
    "Experiment",
    "ExperimentAnalysis",
    "ExperimentInterrupted",
    "ExportFormat",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "__version__",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "durable",
    "function",
    "get_checkpoint",
    "get_context",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "grid_search",
    "init",
    "is_initialized",
    "is_session_enabled",
    "lograndint",
    "loguniform",
    "make_checkpoint_dir",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "save_checkpoint",
    "shutdown",
    "uniform",
    "with_parameters",
    "with_resources",
]


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is not None:
        value = getattr(importlib.import_module(module), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"prefect_tune.{name}")
    raise names_to_come.no_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
