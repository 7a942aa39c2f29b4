"""Ray Tune's names that are not here yet, so that using one says so.

Ported scripts import names such as `prefect_tune.schedulers.PopulationBasedTraining`. Python would
only tell them that there is no such module. There are no placeholders that could be imported and
fail later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_SEARCHERS = {
    "ax": ("AxSearch",),
    "bayesopt": ("BayesOptSearch",),
    "bohb": ("TuneBOHB", "BOHB"),
    "dragonfly": ("DragonflySearch",),
    "flaml": ("BlendSearch", "CFO"),
    "hebo": ("HEBOSearch",),
    "hyperopt": ("HyperOptSearch",),
    "nevergrad": ("NevergradSearch",),
    "sigopt": ("SigOptSearch",),
    "skopt": ("SkOptSearch",),
    "zoopt": ("ZOOptSearch",),
}
_SCHEDULERS = {
    "hb_bohb": ("HyperBandForBOHB",),
    "hyperband": ("HyperBandScheduler",),
    "pb2": ("PB2",),
    "pbt": ("PopulationBasedTraining", "PopulationBasedTrainingReplay"),
    "resource_changing_scheduler": (
        "ResourceChangingScheduler",
        "DistributeResources",
        "DistributeResourcesToTopJob",
        "evenly_distribute_cpus_gpus",
    ),
}
_TRACKERS = {
    "aim": ("AimLoggerCallback",),
    "comet": ("CometLoggerCallback",),
    "mlflow": ("MLflowLoggerCallback", "mlflow_mixin", "setup_mlflow"),
    "wandb": ("WandbLoggerCallback", "wandb_mixin", "setup_wandb"),
}
_FRAMEWORKS = {
    "horovod": (),
    "keras": ("TuneReportCallback", "TuneReportCheckpointCallback"),
    "lightgbm": (),
    "mxnet": (),
    "pytorch_lightning": (),
    "ray_train": (),
    "tensorflow": (),
    "torch": (),
    "xgboost": (),
}
_DISTRIBUTED = ("DistributedTrainableCreator", "ScalingConfig", "DatasetConfig", "DataConfig")

#: Package -> (what its modules and names below are, modules with the names they are known for).
LATER: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "prefect_tune.schedulers": ("scheduler", _SCHEDULERS),
    "prefect_tune.search": ("searcher", _SEARCHERS),
    "prefect_tune.suggest": ("searcher", _SEARCHERS),
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


def message(name: str) -> str | None:
    """What to say to someone who uses a name.

    Args:
        name: The whole name, e.g. ``prefect_tune.schedulers.pbt``.

    Returns:
        None if the name is not one of those that are to come.
    """
    for package, (kind, modules) in LATER.items():
        if not name.startswith(f"{package}."):
            continue
        first = name.removeprefix(f"{package}.").split(".")[0]
        known = {known for names in modules.values() for known in names} | set(modules)
        if first in known:
            return f"{name} is not in prefect_tune yet: this {kind} is still to come."
    return None


def no_attribute(module: str, name: str) -> AttributeError:
    """The error for a module that has no such attribute, now or ever."""
    text = message(f"{module}.{name}") or f"module {module!r} has no attribute {name!r}"
    return AttributeError(text, name=name, obj=sys.modules.get(module))


class _Finder:
    """Asked for modules that nobody else has found; `from package import name` gets here too."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        text = message(name) if name.startswith("prefect_tune.") else None
        if text is not None:
            raise ImportError(text, name=name)
        return None


def install() -> None:
    """Have the import system ask here, last of all; once."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
