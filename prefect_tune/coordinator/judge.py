"""What stopper and scheduler say about a result."""

from __future__ import annotations

from typing import Any

from prefect_tune.coordinator.metrics import check_metrics
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper


class Judge:
    """Asks everyone who has a say in what a trial does after a result.

    Args:
        metrics: Metrics that a result must have.
        stopper: Asked first.
        scheduler: Asked if the stopper lets the trial go on.
    """

    def __init__(
        self, metrics: tuple[str, ...], stopper: Stopper, scheduler: TrialScheduler
    ) -> None:
        self._metrics = metrics
        self._stopper = stopper
        self._scheduler = scheduler

    def __call__(
        self, view: ControllerView, trial: Trial, result: dict[str, Any], flat: dict[str, Any]
    ) -> tuple[Action, str]:
        """What is to be done, and why.

        Args:
            view: For the scheduler.
            trial: Whose result it is.
            result: As reported; has afterwards what the stopper has added.
            flat: The same with nested keys joined by ``/``.

        Raises:
            TuneError: If the result lacks a metric or has a value that cannot be used.
        """
        check_metrics(flat, self._metrics, trial)
        # Stopping functions may look metrics up either way, nested or flat.
        both = result if flat is result else {**result, **flat}
        known = len(both)
        wants_stop = self._stopper(trial.trial_id, both)
        if both is not result and len(both) != known:  # it has added something
            result.update({k: both[k] for k in both if k not in flat and k not in result})
        if wants_stop or flat.get("done") is True:
            return Action.STOP, "a stopping criterion was met"
        answer = self._scheduler.on_trial_result(view, trial, flat)
        # NOOP: the scheduler has dealt with the trial itself; it goes on meanwhile.
        action = Action(answer) if answer in Action.__members__ else Action.CONTINUE
        return action, f"stopped by {type(self._scheduler).__name__}"
