"""Ray Tune's import path of `TuneConfig` and `ResumeConfig`."""

from prefect_tune.config import ResumeConfig, TuneConfig

__all__ = ["ResumeConfig", "TuneConfig"]
