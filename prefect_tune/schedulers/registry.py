"""The registry of schedulers, `SCHEDULERS`, to which new ones are added."""

from __future__ import annotations

from typing import Any

from prefect_tune.named_classes import ClassRegistry
from prefect_tune.schedulers.trial_scheduler import TrialScheduler

#: The schedulers that `create_scheduler`, the deployable flow and the docs know.
SCHEDULERS: ClassRegistry[TrialScheduler] = ClassRegistry(
    "scheduler",
    "prefect_tune.schedulers",
    {
        "fifo": "trial_scheduler.FIFOScheduler",
        "asha async_hyperband asynchyperband": "async_hyperband.AsyncHyperBandScheduler",
        "median_stopping_rule medianstopping": "median_stopping_rule.MedianStoppingRule",
        "hyperband": "hyperband.HyperBandScheduler",
        "hb_bohb": "hb_bohb.HyperBandForBOHB",
        "pbt": "pbt.PopulationBasedTraining",
        "pbt_replay": "pbt_replay.PopulationBasedTrainingReplay",
        "pb2": "pb2.PB2",
        "resource_changing": "resource_changing_scheduler.ResourceChangingScheduler",
        "asha_promotion": "promotion_asha.PromotionASHAScheduler",
        "multi_objective_asha": "multi_objective_asha.MultiObjectiveASHAScheduler",
    },
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
