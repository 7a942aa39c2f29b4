"""Ray Tune's import path of its first way to report: ``from prefect_tune import track``."""

from prefect_tune.trainable.legacy import init, log, shutdown, trial_dir

__all__ = ["init", "log", "shutdown", "trial_dir"]
