"""Controls a running sweep from another process: `tune.control.pause("~/results/mnist")`.

An experiment is named by its directory, by its URL, or by the id of the Prefect flow run that it is
recorded in. Each function returns a description of what was done. It takes effect within two
seconds, and is recorded in the experiment's journal, so that a resume takes it into account.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.storage.control_requests import ControlRequest, send


def pause(experiment: Any) -> str:
    """Pause a sweep: start no trial until `resume` is called; running trials go on.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.

    Raises:
        InvalidArgument: If there is no such experiment.
        TuneError: If the sweep does not run, or is paused already.
    """
    return send(_locate(experiment), ControlRequest("pause"))


def resume(experiment: Any) -> str:
    """Let a paused sweep start trials again.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.

    Raises:
        TuneError: If the sweep does not run, or is not paused.
    """
    return send(_locate(experiment), ControlRequest("resume"))


def stop(experiment: Any) -> str:
    """Start no further trial, and end the sweep when all running trials have ended.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.

    Raises:
        TuneError: If the sweep does not run.
    """
    return send(_locate(experiment), ControlRequest("stop"))


def cancel(experiment: Any) -> str:
    """End a sweep now, as a signal does; the experiment can be resumed.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.

    Raises:
        TuneError: If the sweep does not run.
    """
    return send(_locate(experiment), ControlRequest("cancel"))


def stop_trial(experiment: Any, trial: str) -> str:
    """End one trial at its next report.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.
        trial: The trial's id or name.

    Raises:
        TuneError: If the experiment does not run, or the trial does not exist or has ended.
    """
    return send(_locate(experiment), ControlRequest("stop-trial", trial))


def add_samples(experiment: Any, samples: int) -> str:
    """Increase the number of samples of a running sweep.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.
        samples: How many samples to add; each sample is the whole grid, if there is one.

    Raises:
        TuneError: If the sweep does not run, or `samples` is not a whole number above 0.
    """
    return send(_locate(experiment), ControlRequest("add-samples", values={"samples": samples}))


def set(
    experiment: Any,
    *,
    max_concurrent: int | None = None,
    time_left_s: float | None = None,
    stop: Mapping[str, float] | None = None,
) -> str:
    """Change the limits of a running sweep.

    Args:
        experiment: The experiment's directory, its URL, or the id of its flow run.
        max_concurrent: How many trials may run at a time; trials that run already go on.
        time_left_s: Seconds from now after which the experiment ends.
        stop: Further stopping criteria ``{metric: threshold}``: a trial ends when it reaches one.

    Raises:
        TuneError: If the sweep does not run, or a value is wrong.
    """
    given = {"max_concurrent": max_concurrent, "time_left_s": time_left_s}
    values = {name: float(value) for name, value in given.items() if value is not None}
    values |= {f"stop:{metric}": float(value) for metric, value in (stop or {}).items()}
    return send(_locate(experiment), ControlRequest("set", values=values))


def _locate(experiment: Any) -> Location:
    try:
        flow_run_id = UUID(str(experiment))
    except ValueError:
        path = os.path.expanduser(experiment) if isinstance(experiment, str) else experiment
        return parse_location(path, "experiment")
    from prefect_tune.orchestration.control.sweep_events import directory_of

    return parse_location(directory_of(flow_run_id), "experiment")
