"""What everybody knows about an experiment: its trials, and decisions about them."""

from __future__ import annotations

import importlib
from typing import Any

from prefect_tune.experiment.trial import Trial as Trial

#: Where Ray Tune has them; here they belong to what a user calls.
_ELSEWHERE = ("Experiment", "convert_to_experiment_list")


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module("prefect_tune.experiments"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
