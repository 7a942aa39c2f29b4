"""Schedulers: which trial runs next, and which is stopped or paused early."""

from typing import Any

from prefect_tune._ray import names_to_come
from prefect_tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from prefect_tune.schedulers.hb_bohb import HyperBandForBOHB
from prefect_tune.schedulers.hyperband import HyperBandScheduler
from prefect_tune.schedulers.median_stopping_rule import MedianStoppingRule
from prefect_tune.schedulers.registry import SCHEDULERS, create_scheduler
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = [
    "SCHEDULERS",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "TrialScheduler",
    "create_scheduler",
]


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
