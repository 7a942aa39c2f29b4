"""Stoppers, which end a trial or the whole experiment by its results or the time."""

from prefect_tune.stopper.dict_stopper import DictStopper
from prefect_tune.stopper.experiment_plateau import EarlyStopping, ExperimentPlateauStopper
from prefect_tune.stopper.factory import make_stopper
from prefect_tune.stopper.function_stopper import FunctionStopper
from prefect_tune.stopper.maximum_iteration import MaximumIterationStopper
from prefect_tune.stopper.non_finite import NonFiniteStopper
from prefect_tune.stopper.noop import NoopStopper
from prefect_tune.stopper.stopper import CombinedStopper, JointStopper, Stopper
from prefect_tune.stopper.timeout import TimeoutStopper
from prefect_tune.stopper.trial_plateau import TrialPlateauStopper

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
