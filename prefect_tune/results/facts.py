"""What is said about an experiment wherever it is shown to people."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.storage.experiment_dir import is_abandoned


def experiment_facts(analysis: ExperimentAnalysis) -> dict[str, str]:
    """How an experiment was run, and how long it took.

    Args:
        analysis: The experiment.

    Returns:
        Name -> text, in order; what is not known is left out.
    """
    stats, run = analysis.stats(), analysis.runner_data()
    left = any(not trial.is_finished() for trial in analysis.trials)
    abandoned = left and is_abandoned(Path(analysis.experiment_path))
    known = {
        "state": "its process has ended; a resume goes on with it" if abandoned else None,
        "directory": analysis.experiment_path,
        "started": _when(stats["start_time"]),
        "last result": _when(stats["timestamp"]),
        "trial time": _duration(stats["trial_time_s"]),
        "trainable": run.get("trainable"),
        "search": run.get("search"),
        "scheduler": run.get("scheduler"),
        # The journal has the arguments in words, also those that were not given.
        "stop": run.get("stop") if run.get("stop") != "None" else None,
        "versions": run and f"prefect_tune {run.get('prefect_tune')}, Python {run.get('python')}",
    }
    return {name: str(value) for name, value in known.items() if value}


def _when(time: float | None) -> str | None:
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a `timestamp` that is none
        return str(time)


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))
