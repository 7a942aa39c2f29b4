"""What is the same in all results of an attempt, which the journal has only once."""

from __future__ import annotations

from typing import Any

from prefect_tune.coordinator.events import AttemptEnded, AttemptStarted, Event, ResultReported
from prefect_tune.experiment.trial import Trial
from prefect_tune.trainable.runtime.config_changes import complete


class AttemptConstants:
    """Follows the records of an experiment.

    Args:
        experiment_id: Id of the opening of the experiment whose records these are.
    """

    def __init__(self, experiment_id: str = "") -> None:
        self._experiment_id = experiment_id
        self._processes: dict[str, dict[str, Any]] = {}

    def see(self, event: Event) -> None:
        """Take an event of a record."""
        if isinstance(event, AttemptStarted):
            self._processes[event.trial_id] = {
                "hostname": event.hostname,
                "node_ip": event.node_ip,
                "pid": event.pid,
            }
        elif isinstance(event, AttemptEnded):
            self._processes.pop(event.trial_id, None)

    def complete(self, event: ResultReported, trial: Trial | None) -> None:
        """Complete results as the executor did when they came."""
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

    def reopened(self, experiment_id: str) -> None:
        """The experiment was opened anew; all attempts of before are gone."""
        self._experiment_id = experiment_id
        self._processes.clear()
