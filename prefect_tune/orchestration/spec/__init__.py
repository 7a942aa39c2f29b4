"""Experiments as plain data: one model for the deployable flow's form, YAML files and JSON."""

from prefect_tune.orchestration.spec.experiment import (
    Budget,
    ContinueFrom,
    CustomResource,
    ExperimentSpec,
    Mode,
    NewExperiment,
    Resources,
    ResumeExperiment,
    StopRule,
    WarmStart,
)
from prefect_tune.orchestration.spec.space import (
    Fixed,
    OneOfNumbers,
    OneOfTexts,
    Param,
    RealNumber,
    WholeNumber,
    build_space,
    parse_space,
)
from prefect_tune.orchestration.spec.strategy import SchedulerOptions, SearcherOptions
from prefect_tune.orchestration.spec.trainable import load_trainable

__all__ = [
    "Budget",
    "ContinueFrom",
    "CustomResource",
    "ExperimentSpec",
    "Fixed",
    "Mode",
    "NewExperiment",
    "OneOfNumbers",
    "OneOfTexts",
    "Param",
    "RealNumber",
    "Resources",
    "ResumeExperiment",
    "SchedulerOptions",
    "SearcherOptions",
    "StopRule",
    "WarmStart",
    "WholeNumber",
    "build_space",
    "load_trainable",
    "parse_space",
]
