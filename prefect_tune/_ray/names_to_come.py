"""Error messages for Ray Tune's names that this package lacks, for now or for good.

Ported scripts import names such as `prefect_tune.integration.wandb.WandbLoggerCallback`. Python
would only say that there is no such module; here the import error says that the name is still to
come, or what to use instead. There are no placeholders that could be imported and fail later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_TRACKERS = {
    "aim": ("AimLoggerCallback",),
    "comet": ("CometLoggerCallback",),
    "mlflow": ("MLflowLoggerCallback", "MLFLowLogger", "mlflow_mixin", "setup_mlflow"),
    "wandb": ("WandbLoggerCallback", "WandbLogger", "wandb_mixin", "setup_wandb"),
}
_FRAMEWORKS = {
    "keras": ("TuneReportCallback", "TuneReportCheckpointCallback"),
    "lightgbm": (),
    "mxnet": (),
    "pytorch_lightning": (),
    "ray_train": (),
    "xgboost": (),
}
_DISTRIBUTED = ("DistributedTrainableCreator", "ScalingConfig", "DatasetConfig", "DataConfig")

#: Package -> (kind of its names, for the message; its modules, with the names in each).
LATER: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "prefect_tune.integration": ("integration", _FRAMEWORKS | _TRACKERS),
    "prefect_tune.logger": ("integration", _TRACKERS),
    "prefect_tune.air": ("part of distributed training", {"": _DISTRIBUTED}),
    "prefect_tune.air.config": ("part of distributed training", {"": _DISTRIBUTED}),
    "prefect_tune.air.integrations": ("integration", _FRAMEWORKS | _TRACKERS),
    "prefect_tune.train": (
        "part of distributed training",
        {"": _DISTRIBUTED, "torch": (), "tensorflow": (), "lightning": (), "huggingface": ()},
    ),
}

_AS_THEY_ARE = "functions are run as they are; no class is made of them"
_OWN_SUITES = "it tests Ray itself; `prefect_tune.testing` has suites for parts of your own"
_MACHINERY = "it is a part of Ray Tune's own machinery"
_OBJECTS = "there is no object store; `with_parameters` gives large objects to trials"
_TASKS = "it is a part of Ray itself; trials may use processes, threads or a `distributed.Client`"
_RAY = "it is a part of Ray itself, of which Ray Tune does not need anything here"
_TENSORBOARD = "`TBXLogger` writes for TensorBoard"
_VERBOSE = "how much is printed is the argument `verbose` of each run"
_CLUSTER = "it is a part of Ray itself; a `distributed.Client` tells about the nodes"
_RETIRED = {
    "dragonfly": (
        "DragonflySearch",
        "its library cannot be built any more; use `BayesOptSearch` or `OptunaSearch`",
    ),
    "hebo": (
        "HEBOSearch",
        "its library works with numpy before 1.25 only; use `AxSearch`, or `OptunaSearch` with "
        "`sampler=optuna.samplers.GPSampler()`",
    ),
    "sigopt": (
        "SigOptSearch",
        "its library is the client of a service, and needs urllib3 before 2; use `OptunaSearch`",
    ),
}
#: Module or name of Ray Tune that this package will never have -> why, or what to use instead.
INSTEAD = {
    "prefect_tune.ObjectID": _OBJECTS,
    "prefect_tune.ObjectRef": _OBJECTS,
    "prefect_tune.actor": _TASKS,
    "prefect_tune.automl": "Ray has given it up, too",
    "prefect_tune.available_resources": _CLUSTER,
    "prefect_tune.cloudpickle": "`import cloudpickle` is the library itself",
    "prefect_tune.cluster_info": _MACHINERY,
    "prefect_tune.checkpoint_manager": _MACHINERY,
    "prefect_tune.cluster_resources": _CLUSTER,
    "prefect_tune.config_parser": _MACHINERY,
    "prefect_tune.data": _RAY,
    "prefect_tune.durable_trainable": "`prefect_tune.durable` is its name here",
    "prefect_tune.examples": "define the model in your script",
    "prefect_tune.exceptions": "trials that fail end runs with `prefect_tune.TuneError`",
    "prefect_tune.execution.class_cache": _MACHINERY,
    "prefect_tune.execution.cluster_info": _MACHINERY,
    "prefect_tune.execution.experiment_state": _MACHINERY,
    "prefect_tune.execution.insufficient_resources_manager": _MACHINERY,
    "prefect_tune.execution.ray_trial_executor": _MACHINERY,
    "prefect_tune.execution.trial_runner": _MACHINERY,
    "prefect_tune.execution.tune_controller": _MACHINERY,
    "prefect_tune.experimental": "`prefect_tune.progress_reporter` has the reporters",
    "prefect_tune.function_runner": _AS_THEY_ARE,
    "prefect_tune.get": _OBJECTS,
    "prefect_tune.get_actor": _TASKS,
    "prefect_tune.get_gpu_ids": "`CUDA_VISIBLE_DEVICES` in a trial has the GPUs that are its own",
    "prefect_tune.get_runtime_context": "`prefect_tune.get_context` tells a trial about itself",
    "prefect_tune.impl": _MACHINERY,
    "prefect_tune.kill": _TASKS,
    "prefect_tune.logger.TF2Logger": _TENSORBOARD,
    "prefect_tune.logger.TFEagerLogger": _TENSORBOARD,
    "prefect_tune.logger.TFLogger": _TENSORBOARD,
    "prefect_tune.method": _TASKS,
    "prefect_tune.nodes": _CLUSTER,
    "prefect_tune.put": _OBJECTS,
    "prefect_tune.ray_trial_executor": _MACHINERY,
    "prefect_tune.remote": _TASKS,
    "prefect_tune.rllib": "it is a part of Ray itself; give a function or class that trains",
    "prefect_tune.serve": _RAY,
    "prefect_tune.services": _CLUSTER,
    "prefect_tune.sklearn": "give a function that fits the estimator and reports its score",
    "prefect_tune.suggest.SuggestionAlgorithm": "`Searcher` took its place in Ray 0.8.7",
    "prefect_tune.trainable.FunctionTrainable": _AS_THEY_ARE,
    "prefect_tune.trainable.function_trainable": _AS_THEY_ARE,
    "prefect_tune.trainable.wrap_function": _AS_THEY_ARE,
    "prefect_tune.trial_runner": _MACHINERY,
    "prefect_tune.util": f"{_TASKS}; Ray Tune's own tools are in `prefect_tune.utils`",
    "prefect_tune.utils.callback": "loggers are chosen with `callbacks` and environment variables",
    "prefect_tune.utils.file_transfer": _MACHINERY,
    "prefect_tune.utils.log.has_verbosity": _VERBOSE,
    "prefect_tune.utils.log.set_verbosity": _VERBOSE,
    "prefect_tune.utils.mock": _OWN_SUITES,
    "prefect_tune.utils.mock_trainable": _OWN_SUITES,
    "prefect_tune.utils.get_pinned_object": _OBJECTS,
    "prefect_tune.utils.object_cache": _MACHINERY,
    "prefect_tune.utils.pin_in_object_store": _OBJECTS,
    "prefect_tune.utils.release_test_util": _OWN_SUITES,
    "prefect_tune.variant_generator": "`prefect_tune.search.variant_generator` is its name today",
    "prefect_tune.visual_utils": "`prefect_tune.Analysis(directory).dataframe()` reads results",
    "prefect_tune.wait": _TASKS,
    "prefect_tune.web_server": "the Prefect UI and the command `prefect-tune` show runs",
    "prefect_tune.worker": _RAY,
} | {
    f"prefect_tune.{package}.{name}": f"{cls} is retired: {why}"
    for module, (cls, why) in _RETIRED.items()
    for package in ("search", "suggest")
    for name in (module, cls)
}


def message(name: str) -> str | None:
    """Return the error message for a name that Ray Tune has and this package lacks.

    Args:
        name: The whole name, e.g. ``prefect_tune.schedulers.pbt``.

    Returns:
        None if nothing is known about the name.
    """
    for absent, why in INSTEAD.items():
        if name == absent or name.startswith(f"{absent}."):
            return f"{name} is not in prefect_tune: {why}."
    for package, (kind, modules) in LATER.items():
        if not name.startswith(f"{package}."):
            continue
        first = name.removeprefix(f"{package}.").split(".")[0]
        known = {known for names in modules.values() for known in names} | set(modules)
        if first in known:
            return f"{name} is not in prefect_tune yet: this {kind} is still to come."
    return None


def no_attribute(module: str, name: str) -> AttributeError:
    """Return the `AttributeError` for a module that lacks an attribute."""
    text = message(f"{module}.{name}") or f"module {module!r} has no attribute {name!r}"
    return AttributeError(text, name=name, obj=sys.modules.get(module))


class _Finder:
    """Raises an `ImportError` with a message for modules of Ray Tune that this package lacks."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        text = message(name) if name.startswith("prefect_tune.") else None
        if text is not None:
            raise ImportError(text, name=name)
        return None


def install() -> None:
    """Add the finder behind all others of the import system, if it is not there yet."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
