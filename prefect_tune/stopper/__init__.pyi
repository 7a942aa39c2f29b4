"""Stoppers, which end a trial or the whole experiment by its results or the time."""

from .criteria import (
    MaximumIterationStopper as MaximumIterationStopper,
    NonFiniteStopper as NonFiniteStopper,
    TimeoutStopper as TimeoutStopper,
)
from .factory import (
    DictStopper as DictStopper,
    FunctionStopper as FunctionStopper,
    make_stopper as make_stopper,
)
from .plateau import (
    EarlyStopping as EarlyStopping,
    ExperimentPlateauStopper as ExperimentPlateauStopper,
    TrialPlateauStopper as TrialPlateauStopper,
)
from .stopper import (
    CombinedStopper as CombinedStopper,
    JointStopper as JointStopper,
    NoopStopper as NoopStopper,
    Stopper as Stopper,
)
