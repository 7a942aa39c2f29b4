"""A scheduler that pauses all the time, for tests of everything that pausing touches."""

from __future__ import annotations

from typing import Any

from prefect_tune.experiment.decision import EVERY_RESULT, RunUntil
from prefect_tune.experiment.trial import PAUSED, PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers import TrialScheduler


class PausingScheduler(TrialScheduler):
    """Pauses each trial after every `slice_length` results and goes on with them in turns.

    A trial that has waited longest goes on first; new ones come in at the end of the queue. It is
    deterministic, and its state can be pickled.

    Args:
        slice_length: Results between two pauses of a trial.
    """

    def __init__(self, slice_length: int = 2) -> None:
        self._slice = slice_length
        self._since: dict[str, int] = {}
        self._queue: list[str] = []
        self.num_pauses = 0

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Queue a trial."""
        self._forget(trial)
        self._since[trial.trial_id] = 0
        self._queue.append(trial.trial_id)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Pause if its slice is used up."""
        self._since[trial.trial_id] += 1
        if self._since[trial.trial_id] < self._slice:
            return self.CONTINUE
        self._since[trial.trial_id] = 0
        if trial.trial_id in self._queue:
            self._queue.remove(trial.trial_id)
        self._queue.append(trial.trial_id)
        self.num_pauses += 1
        return self.PAUSE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Forget a trial."""
        self._forget(trial)

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """Forget a trial; one that is retried is added again."""
        self._forget(trial)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Forget a trial."""
        self._forget(trial)

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the first trial of the queue that waits and has resources."""
        for trial_id in self._queue:
            trial = controller.get_trial(trial_id)
            if (
                trial is not None
                and trial.status in (PENDING, PAUSED)
                and controller.has_resources_for_trial(trial)
            ):
                return trial
        return None

    def run_until(self, trial: Trial) -> RunUntil:
        """Return `EVERY_RESULT`: a trial may be paused at each."""
        return EVERY_RESULT

    def debug_string(self) -> str:
        """Return a line that says how often it has paused."""
        return f"Using PausingScheduler: num_pauses={self.num_pauses}."

    def _forget(self, trial: Trial) -> None:
        self._since.pop(trial.trial_id, None)
        if trial.trial_id in self._queue:
            self._queue.remove(trial.trial_id)
