"""Control of a sweep that runs, from another process: `tune.control.pause("~/results/mnist")`.

An experiment is named by its directory, by its URL, or by the id of the Prefect flow run that it is
recorded in. Each function returns what was done, takes effect within two seconds, and is written
into the experiment's journal, so that a resume knows of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect_tune.engine.control import Request, send
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location


def pause(experiment: Any) -> str:
    """Start no trial until `resume`; those that run go on.

    Args:
        experiment: Its directory, its URL, or the id of its flow run.

    Raises:
        InvalidArgument: If there is no such experiment.
        TuneError: If it does not run, or is paused already.
    """
    return send(_locate(experiment), Request("pause"))


def resume(experiment: Any) -> str:
    """Go on after `pause`.

    Args:
        experiment: As of `pause`.

    Raises:
        TuneError: If it does not run, or is not paused.
    """
    return send(_locate(experiment), Request("resume"))


def stop(experiment: Any) -> str:
    """Start no further trial, and end the sweep when those that run have ended.

    Args:
        experiment: As of `pause`.

    Raises:
        TuneError: If it does not run.
    """
    return send(_locate(experiment), Request("stop"))


def cancel(experiment: Any) -> str:
    """End the sweep now, as a signal does; it can be resumed.

    Args:
        experiment: As of `pause`.

    Raises:
        TuneError: If it does not run.
    """
    return send(_locate(experiment), Request("cancel"))


def stop_trial(experiment: Any, trial: str) -> str:
    """End one trial, at its next report.

    Args:
        experiment: As of `pause`.
        trial: Its id or name.

    Raises:
        TuneError: If the experiment does not run, or the trial does not exist or has ended.
    """
    return send(_locate(experiment), Request("stop-trial", trial))


def add_samples(experiment: Any, samples: int) -> str:
    """Sample the search space more often than was planned.

    Args:
        experiment: As of `pause`.
        samples: How often more; each sample is the whole grid, if there is one.

    Raises:
        TuneError: If the experiment does not run, or `samples` is no number above 0.
    """
    return send(_locate(experiment), Request("add-samples", values={"samples": samples}))


def set(
    experiment: Any,
    *,
    max_concurrent: int | None = None,
    time_left_s: float | None = None,
    stop: Mapping[str, float] | None = None,
) -> str:
    """Change limits of a sweep.

    Args:
        experiment: As of `pause`.
        max_concurrent: Most trials that run at a time; those that run go on.
        time_left_s: Seconds from now after which the experiment ends.
        stop: Metrics and thresholds; a trial ends when it reaches one, as by what was given before.

    Raises:
        TuneError: If the experiment does not run, or a value cannot work.
    """
    given = {"max_concurrent": max_concurrent, "time_left_s": time_left_s}
    values = {name: float(value) for name, value in given.items() if value is not None}
    values |= {f"stop:{metric}": float(value) for metric, value in (stop or {}).items()}
    return send(_locate(experiment), Request("set", values=values))


def _locate(experiment: Any) -> Location:
    try:
        flow_run_id = UUID(str(experiment))
    except ValueError:
        path = os.path.expanduser(experiment) if isinstance(experiment, str) else experiment
        return parse_location(path, "experiment")
    from prefect_tune.orchestration.control.find_experiment import directory_of

    return parse_location(directory_of(flow_run_id), "experiment")
