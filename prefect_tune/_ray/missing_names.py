"""Error messages for Ray Tune's names that this package lacks, for now or for good.

Ported scripts import names such as `prefect_tune.integration.wandb.WandbLoggerCallback`. Python
would only say that there is no such module; here the import error says that the name is still to
come, or what to use instead. There are no placeholders that could be imported and fail later.
"""

from __future__ import annotations

import sys

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

_TASKS = "it is a part of Ray itself; trials may use processes, threads or a `distributed.Client`"
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
#: Why, or what to use instead -> modules and names of Ray Tune that this package will never have.
_NEVER = {
    "it is a part of Ray Tune's own machinery": """
        checkpoint_manager cluster_info config_parser execution.class_cache execution.cluster_info
        execution.experiment_state execution.insufficient_resources_manager
        execution.ray_trial_executor execution.trial_runner execution.tune_controller impl
        ray_trial_executor trial_runner utils.file_transfer utils.object_cache
    """,
    "there is no object store; `with_parameters` gives large objects to trials": """
        ObjectID ObjectRef get put utils.get_pinned_object utils.pin_in_object_store
    """,
    _TASKS: "actor get_actor kill method remote wait",
    f"{_TASKS}; Ray Tune's own tools are in `prefect_tune.utils`": "util",
    "it is a part of Ray itself; a `distributed.Client` tells about the nodes": """
        available_resources cluster_resources nodes services
    """,
    "it is a part of Ray itself, of which Ray Tune does not need anything here": """
        data serve worker
    """,
    "it is a part of Ray itself; give a function or class that trains": "rllib",
    "functions are run as they are; no class is made of them": """
        function_runner trainable.FunctionTrainable trainable.function_trainable
        trainable.wrap_function
    """,
    "it tests Ray itself; `prefect_tune.testing` has suites for parts of your own": """
        utils.mock utils.mock_trainable utils.release_test_util
    """,
    "`TBXLogger` writes for TensorBoard": "logger.TF2Logger logger.TFEagerLogger logger.TFLogger",
    "how much is printed is the argument `verbose` of each run": """
        utils.log.has_verbosity utils.log.set_verbosity
    """,
    "Ray has given it up, too": "automl",
    "`import cloudpickle` is the library itself": "cloudpickle",
    "`prefect_tune.durable` is its name here": "durable_trainable",
    "define the model in your script": "examples",
    "trials that fail end runs with `prefect_tune.TuneError`": "exceptions",
    "`prefect_tune.progress_reporter` has the reporters": "experimental",
    "`CUDA_VISIBLE_DEVICES` in a trial has the GPUs that are its own": "get_gpu_ids",
    "`prefect_tune.get_context` tells a trial about itself": "get_runtime_context",
    "give a function that fits the estimator and reports its score": "sklearn",
    "`Searcher` took its place in Ray 0.8.7": "suggest.SuggestionAlgorithm",
    "loggers are chosen with `callbacks` and environment variables": "utils.callback",
    "`prefect_tune.search.variant_generator` is its name today": "variant_generator",
    "`prefect_tune.Analysis(directory).dataframe()` reads results": "visual_utils",
    "the Prefect UI and the command `prefect-tune` show runs": "web_server",
} | {
    f"{cls} is retired: {why}": f"search.{module} search.{cls} suggest.{module} suggest.{cls}"
    for module, (cls, why) in _RETIRED.items()
}
INSTEAD = {f"prefect_tune.{name}": why for why, names in _NEVER.items() for name in names.split()}


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
