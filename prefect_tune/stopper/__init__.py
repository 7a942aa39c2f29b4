"""Stoppers, which end a trial or the whole experiment by its results or the time."""

from prefect_tune.stopper.criteria import MaximumIterationStopper, NonFiniteStopper, TimeoutStopper
from prefect_tune.stopper.factory import DictStopper, FunctionStopper, make_stopper
from prefect_tune.stopper.plateau import (
    EarlyStopping,
    ExperimentPlateauStopper,
    TrialPlateauStopper,
)
from prefect_tune.stopper.stopper import CombinedStopper, JointStopper, NoopStopper, Stopper

__all__ = [
    "CombinedStopper",
    "DictStopper",
    "EarlyStopping",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "JointStopper",
    "MaximumIterationStopper",
    "NonFiniteStopper",
    "NoopStopper",
    "Stopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
    "make_stopper",
]
