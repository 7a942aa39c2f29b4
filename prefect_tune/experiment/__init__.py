"""The data of an experiment that all packages share: trials, checkpoints, decisions."""

from __future__ import annotations

import importlib
from typing import Any

from prefect_tune.experiment.trial import Trial as Trial

#: Ray Tune has these names here; they are defined in `prefect_tune.experiments`.
_ELSEWHERE = ("Experiment", "convert_to_experiment_list")


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module("prefect_tune.experiments"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
