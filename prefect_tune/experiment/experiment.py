"""Ray Tune's import path of `Experiment`; see `prefect_tune.experiments`."""

from __future__ import annotations

from typing import Any

from prefect_tune import experiment


def __getattr__(name: str) -> Any:
    return getattr(experiment, name)
