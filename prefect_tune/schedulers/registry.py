"""The registry of schedulers, `SCHEDULERS`, to which new ones are added."""

from __future__ import annotations

from typing import Any

from prefect_tune.named_classes import ClassRegistry, NamedClass
from prefect_tune.schedulers.trial_scheduler import TrialScheduler

_PACKAGE = "prefect_tune.schedulers"

#: The schedulers that `create_scheduler`, the deployable flow and the docs know.
SCHEDULERS: ClassRegistry[TrialScheduler] = ClassRegistry(
    "scheduler",
    _PACKAGE,
    NamedClass("fifo", f"{_PACKAGE}.trial_scheduler", "FIFOScheduler"),
    NamedClass(
        "asha",
        f"{_PACKAGE}.async_hyperband",
        "AsyncHyperBandScheduler",
        ("async_hyperband", "asynchyperband"),
    ),
    NamedClass(
        "median_stopping_rule",
        f"{_PACKAGE}.median_stopping_rule",
        "MedianStoppingRule",
        ("medianstopping",),
    ),
    NamedClass("hyperband", f"{_PACKAGE}.hyperband", "HyperBandScheduler"),
    NamedClass("hb_bohb", f"{_PACKAGE}.hb_bohb", "HyperBandForBOHB"),
    NamedClass("pbt", f"{_PACKAGE}.pbt", "PopulationBasedTraining"),
    NamedClass("pbt_replay", f"{_PACKAGE}.pbt_replay", "PopulationBasedTrainingReplay"),
    NamedClass("pb2", f"{_PACKAGE}.pb2", "PB2"),
    NamedClass(
        "resource_changing",
        f"{_PACKAGE}.resource_changing_scheduler",
        "ResourceChangingScheduler",
    ),
    NamedClass("asha_promotion", f"{_PACKAGE}.promotion_asha", "PromotionASHAScheduler"),
    NamedClass(
        "multi_objective_asha",
        f"{_PACKAGE}.multi_objective_asha",
        "MultiObjectiveASHAScheduler",
    ),
)


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Make a scheduler by its name, e.g. ``create_scheduler("asha", max_t=50)``.

    Args:
        scheduler: One of the names in `SCHEDULERS`, or one of their aliases: ``async_hyperband``,
            ``asynchyperband`` and ``medianstopping``.
        **kwargs: Arguments of its constructor; those it does not have are ignored, as in Ray Tune.

    Raises:
        InvalidArgument: If there is no such scheduler, or an argument is out of its range.
    """
    return SCHEDULERS.create(scheduler, **kwargs)
