"""The values that are equal in all results of an attempt, so that the journal has them once."""

from __future__ import annotations

from typing import Any

from prefect_tune.coordinator.events import AttemptEnded, AttemptStarted, Event, ResultReported
from prefect_tune.experiment.trial import Trial
from prefect_tune.trainable.runtime.config_changes import complete


class AttemptConstants:
    """Completes journaled results with the values that are equal in all results of an attempt."""

    def __init__(self) -> None:
        self._experiment_id = ""
        self._processes: dict[str, dict[str, Any]] = {}

    def follow(self, event: Event) -> None:
        """Note the process of an attempt that a recorded event starts or ends."""
        if isinstance(event, AttemptStarted):
            self._processes[event.trial_id] = {
                "hostname": event.hostname,
                "node_ip": event.node_ip,
                "pid": event.pid,
            }
        elif isinstance(event, AttemptEnded):
            self._processes.pop(event.trial_id, None)

    def complete(self, event: ResultReported, trial: Trial | None) -> None:
        """Add the constant values to the results of a recorded event, as the executor did."""
        if trial is None:
            return
        constants = {
            "trial_id": trial.trial_id,
            "experiment_id": self._experiment_id,
            "experiment_tag": trial.experiment_tag,
            "config": trial.config,
            **self._processes.get(trial.trial_id, {}),
        }
        for result in event.results:
            complete(result, constants)

    def start_run(self, experiment_id: str) -> None:
        """Note that a new run of the experiment has begun, which has none of the old attempts."""
        self._experiment_id = experiment_id
        self._processes.clear()
