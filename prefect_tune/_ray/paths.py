"""Ray's import paths: a table of them, and a finder that makes modules from the table.

A script written for Ray Tune imports from paths such as `prefect_tune.suggest.optuna`. There is no
such file: the finder below makes a module from the table. Its names are the objects of the modules
that define them, and are looked up when they are first used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from prefect_tune._ray.missing_names import message, no_attribute

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    Loader = object  # importing the real one takes longer than importing this package

_PACKAGE = "prefect_tune"
#: Modules of Ray's searchers that use other libraries, with their names.
_SEARCHERS = {
    "ax": "AxSearch",
    "bayesopt": "BayesOptSearch",
    "flaml": "BlendSearch CFO",
    "hyperopt": "HyperOptSearch",
    "nevergrad": "NevergradSearch",
    "skopt": "SkOptSearch",
    "zoopt": "ZOOptSearch",
}
#: Ray's import path -> module that defines its names -> these names. Both are in `prefect_tune`.
PATHS: dict[str, dict[str, str]] = {
    "air": {
        "checkpoint.checkpoint": "Checkpoint",
        "config": "CheckpointConfig FailureConfig RunConfig",
        "results": "Result",
    },
    "air.checkpoint": {"checkpoint.checkpoint": "Checkpoint"},
    "air.config": {"config": "CheckpointConfig FailureConfig RunConfig"},
    "air.constants": {
        "result": (
            "EXPR_ERROR_FILE EXPR_ERROR_PICKLE_FILE EXPR_PARAM_FILE EXPR_PARAM_PICKLE_FILE "
            "EXPR_PROGRESS_FILE EXPR_RESULT_FILE TIMESTAMP TIME_THIS_ITER_S TRAINING_ITERATION"
        ),
    },
    "air.integrations": {},
    "air.result": {"results": "Result"},
    "air.session": {
        "trainable.air_session": (
            "get_dataset_shard get_local_rank get_world_rank get_world_size report"
        ),
        "trainable.session": (
            "get_checkpoint get_experiment_name get_trial_dir get_trial_id get_trial_name "
            "get_trial_resources"
        ),
    },
    "context": {"trainable.session": "TuneContext get_context"},
    "experiment.experiment": {"experiments": "Experiment convert_to_experiment_list"},
    "integration": {},
    "integration.docker": {"storage.sync.sync_config": "DockerSyncer"},
    "integration.kubernetes": {
        "storage.sync.sync_config": "KubernetesSyncer NamespacedKubernetesSyncer",
    },
    "integration.horovod": {"trainable.distributed.horovod": "DistributedTrainableCreator"},
    "integration.tensorflow": {
        "trainable.distributed.tensorflow": "DistributedTrainableCreator _with_config",
    },
    # The private names are in pickles.
    "integration.torch": {
        "trainable.distributed.torch": (
            "DistributedTrainableCreator distributed_checkpoint_dir is_distributed_trainable "
            "_ProcessGroup _load"
        ),
    },
    "logger.logger": {
        "logger.base": "LoggerCallback",
        "logger.encoding": "SafeFallbackEncoder pretty_print",
        "logger.legacy": "LegacyLoggerCallback Logger",
    },
    "logger.noop": {"logger.legacy": "NoopLogger"},
    "logger.unified": {"logger.legacy": "UnifiedLogger"},
    "plots": {"results.plots.draw": "plot_experiment", "results.plots.picture": "Plot"},
    "progress_reporter": {
        "reporters": (
            "CLIReporter JupyterNotebookReporter ProgressReporter RemoteReporterMixin "
            "TrialProgressCallback TuneReporterBase"
        ),
    },
    "result_grid": {"results": "ResultGrid"},
    "search.concurrency_limiter": {"search": "ConcurrencyLimiter"},
    "search.repeater": {"search": "Repeater"},
    "search.search_algorithm": {"search": "SearchAlgorithm SearchGenerator"},
    "search.search_generator": {"search": "SearchGenerator"},
    "search.variant_generator": {
        "search.compatibility": "RecursiveDependencyError generate_variants grid_search"
    },
    "session": {
        "trainable.session": (
            "TuneContext checkpoint_dir get_checkpoint get_context get_experiment_name "
            "get_trial_dir get_trial_id get_trial_name get_trial_resources is_session_enabled "
            "make_checkpoint_dir report save_checkpoint"
        ),
        "trainable": "Trainable with_parameters with_resources",
    },
    "stopper.experiment_plateau": {"stopper": "ExperimentPlateauStopper"},
    "stopper.function_stopper": {"stopper": "FunctionStopper"},
    "stopper.maximum_iteration": {"stopper": "MaximumIterationStopper"},
    "stopper.noop": {"stopper": "NoopStopper"},
    "stopper.timeout": {"stopper": "TimeoutStopper"},
    "stopper.trial_plateau": {"stopper": "TrialPlateauStopper"},
    "suggest": {
        "search": (
            "BasicVariantGenerator ConcurrencyLimiter Repeater Searcher create_searcher grid_search"
        ),
    },
    "suggest.basic_variant": {"search": "BasicVariantGenerator"},
    "suggest.bohb": {"search.bohb": "TuneBOHB"},
    "suggest.optuna": {"search.optuna": "OptunaSearch"},
    "suggest.repeater": {"search": "Repeater"},
    "suggest.search": {"search": "SearchAlgorithm"},
    "suggest.search_generator": {"search": "SearchGenerator"},
    "suggest.suggestion": {"search": "ConcurrencyLimiter Searcher"},
    "suggest.variant_generator": {"search.compatibility": "generate_variants grid_search"},
    "syncer": {"storage.sync.sync_config": "SyncConfig", "storage.sync.syncer": "Syncer"},
    "track": {"trainable.legacy": "init log shutdown trial_dir"},
    "train": {
        "checkpoint.checkpoint": "Checkpoint",
        "config": "CheckpointConfig FailureConfig RunConfig",
        "results": "Result",
        "storage.sync.sync_config": "SyncConfig",
        "trainable.session": "get_checkpoint get_context report",
    },
    "trainable.trainable_fn_utils": {"trainable.session": "get_checkpoint report"},
    "trainable.util": {"trainable.wrappers": "with_parameters with_resources"},
    "trial": {
        "checkpoint.checkpoint": "Checkpoint",
        "experiment.trial": "Trial",
        "resources": "Resources",
        "trainable.trainable": "ExportFormat",
    },
    "tune_config": {"config": "ResumeConfig TuneConfig"},
    "utils": {
        "nested": "deep_update flatten_dict merge_dicts unflatten_dict unflattened_lookup",
        "tools": "date_str warn_if_slow",
        "trainable.node_usage": "UtilMonitor wait_for_gpu",
        "trainable.shipping.checks": "diagnose_serialization validate_save_restore",
    },
    "utils.log": {"reporters.factory": "Verbosity"},
    "utils.nested": {
        "nested": "deep_update flatten_dict merge_dicts unflatten_dict unflattened_lookup",
    },
    "utils.serialization": {"trainable.shipping.checks": "diagnose_serialization"},
    "utils.trainable": {"trainable.wrappers": "with_parameters"},
    "utils.util": {
        "logger.encoding": "SafeFallbackEncoder",
        "nested": (
            "deep_update flatten_dict merge_dicts unflatten_dict unflatten_list_dict "
            "unflattened_lookup"
        ),
        "tools": "Tee date_str is_nan is_nan_or_inf warn_if_slow",
        "trainable.node_usage": "UtilMonitor wait_for_gpu",
        "trainable.shipping.checks": "diagnose_serialization validate_save_restore",
    },
} | {
    path: {f"search.libraries.{module}": names}
    for module, names in _SEARCHERS.items()
    for path in (f"search.{module}", f"search.{module}.{module}_search", f"suggest.{module}")
}
PATHS["analysis"] = PATHS["analysis.experiment_analysis"] = {
    "results": "Analysis ExperimentAnalysis"
}
PATHS["execution.placement_groups"] = PATHS["utils.placement_groups"] = {
    "resources": "PlacementGroupFactory resource_dict_to_pg_factory",
}
PATHS["sample"] = PATHS["search.sample"] = {
    "space": (
        "Categorical Domain Float Function Grid Integer LogUniform Normal Quantized Sampler "
        "Uniform choice lograndint loguniform qlograndint qloguniform qrandint qrandn quniform "
        "randint randn sample_from uniform"
    ),
}
#: Module -> its earlier paths, also those of modules that it has taken in; see `EARLIER`.
_EARLIER = {
    "coordinator.table": "coordinator.state",
    "coordinator.trial_checkpoints": "coordinator.checkpoint_book",
    "engine.resume.replay": "engine.attempt_constants engine.resume.result_constants",
    "engine.resume.snapshot": "engine.snapshot_pickle engine.snapshot_state",
    "experiment.attempt": "experiment.attempt_error",
    "reporters.plain": "reporters.debugging",
    "reporters.status": "reporters.cli",
    "stopper.criteria": "stopper.counting stopper.non_finite",
    "stopper.factory": "stopper.dict_stopper",
    "storage.sync.sync_config": "storage.sync_config",
    "storage.sync.syncer": "storage.syncer",
    "trainable.legacy": "trainable.durable",
    "trainable.node_usage": "trainable.gpu_wait trainable.system_usage",
    "trainable.runner": "trainable.error_pickling trainable.runtime.error_pickling",
    "trainable.shipping.large_data": "trainable.large_data",
    "trainable.tracked_checkpoint": "results.tracked_checkpoint",
    "trainable.trainable": "trainable.export",
}
#: Earlier path of a module -> its path now, for pickles in old experiment directories.
EARLIER = {path: module for module, paths in _EARLIER.items() for path in paths.split()}


def attribute(module: str, name: str) -> Any:
    """Return an attribute that a module lacks, if Ray's paths have a module of this name below it.

    Args:
        module: The whole name of the module.
        name: The attribute.

    Raises:
        AttributeError: If there is no such path; the message says if Ray Tune has the name.
    """
    if _below_package(f"{module}.{name}") in PATHS:
        return importlib.import_module(f"{module}.{name}")
    raise no_attribute(module, name)


def install() -> None:
    """Add the finder behind those of the import system, if it is not there yet."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)


class _Finder:
    """Finds modules of Ray's import paths, and modules under their earlier paths.

    Raises an `ImportError` with a message for other modules of Ray Tune that this package lacks.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        below = _below_package(name)
        if below in PATHS or below in EARLIER:
            # Every path is a package, because other paths and missing names may be below it.
            return ModuleSpec(name, _Loader(), origin=__file__, is_package=below in PATHS)
        if below and (text := message(name)) is not None:
            raise ImportError(text, name=name)
        return None


class _Loader(Loader):
    """Fills the module of one of Ray's import paths, or loads a module by its earlier path."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None, so that Python creates an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the names of its path, which are looked up when they are first used.

        A module with another path today is put under its earlier name into `sys.modules`.
        """
        below = _below_package(module.__name__)
        if below in EARLIER:
            today = importlib.import_module(f"{_PACKAGE}.{EARLIER[below]}")
            sys.modules[module.__name__] = today
            return
        homes = {name: home for home, names in PATHS[below].items() for name in names.split()}

        def get(name: str) -> Any:
            if name not in homes:
                return attribute(module.__name__, name)
            value = getattr(importlib.import_module(f"{_PACKAGE}.{homes[name]}"), name)
            setattr(module, name, value)
            return value

        vars(module).update(
            __doc__="Names of Ray Tune's module of this path.",
            __all__=sorted(homes),
            __getattr__=get,
            __dir__=lambda: sorted({*vars(module), *homes}),
        )


def _below_package(name: str) -> str:
    return name.removeprefix(f"{_PACKAGE}.") if name.startswith(f"{_PACKAGE}.") else ""
