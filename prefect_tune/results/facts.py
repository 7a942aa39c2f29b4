"""A few facts about an experiment, as the command line and the report show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.storage.experiment_dir import is_abandoned

_LONGEST_S = timedelta.max.total_seconds()


def experiment_facts(analysis: ExperimentAnalysis) -> dict[str, str]:
    """Return how an experiment was run and how long it took, as texts.

    Args:
        analysis: The experiment.

    Returns:
        Name -> text, in the order to show them; unknown facts are left out.
    """
    stats, run = analysis.stats(), analysis.runner_data()
    unfinished = any(not trial.is_finished() for trial in analysis.trials)
    abandoned = unfinished and is_abandoned(Path(analysis.experiment_path))
    known = {
        "state": "its process has ended; a resume goes on with it" if abandoned else None,
        "directory": analysis.experiment_path,
        "started": _show_time(stats["start_time"]),
        "last result": _show_time(stats["timestamp"]),
        "trial time": _show_duration(stats["trial_time_s"]),
        "trainable": run.get("trainable"),
        "search": run.get("search"),
        "scheduler": run.get("scheduler"),
        # The journal has all arguments as text, also the default "None".
        "stop": run.get("stop") if run.get("stop") != "None" else None,
        "versions": run and f"prefect_tune {run.get('prefect_tune')}, Python {run.get('python')}",
    }
    return {name: str(value) for name, value in known.items() if value}


def _show_time(time: float | None) -> str | None:
    if time is None:
        return None
    try:
        return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a user's metric `timestamp`, not a time
        return str(time)


def _show_duration(seconds: float) -> str:
    if 100 <= seconds < _LONGEST_S:
        return str(timedelta(seconds=round(seconds)))
    return f"{seconds:.3g} s"
