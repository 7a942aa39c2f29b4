"""Schedulers, which choose the next trial to run and stop or pause trials early."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from prefect_tune.schedulers.hb_bohb import HyperBandForBOHB
from prefect_tune.schedulers.hyperband import HyperBandScheduler
from prefect_tune.schedulers.median_stopping_rule import MedianStoppingRule
from prefect_tune.schedulers.multi_objective_asha import MultiObjectiveASHAScheduler
from prefect_tune.schedulers.pb2 import PB2
from prefect_tune.schedulers.pbt import (
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
)
from prefect_tune.schedulers.promotion_asha import PromotionASHAScheduler
from prefect_tune.schedulers.registry import SCHEDULERS, create_scheduler
from prefect_tune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
    ResourceChangingScheduler,
    evenly_distribute_cpus_gpus,
)
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = [
    "PB2",
    "SCHEDULERS",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "MultiObjectiveASHAScheduler",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "PromotionASHAScheduler",
    "ResourceChangingScheduler",
    "TrialScheduler",
    "create_scheduler",
    "evenly_distribute_cpus_gpus",
]


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
