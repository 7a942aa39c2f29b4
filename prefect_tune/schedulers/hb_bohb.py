"""`HyperBandForBOHB`: the scheduler of BOHB, for use with the searcher `TuneBOHB`.

Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML 2018):
HyperBand whose brackets are filled from the strictest one on, so that the searcher's model soon
knows many results of short runs.
"""

from __future__ import annotations

from typing import Any

from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.hyperband import Bracket, HyperBandScheduler


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand that passes the results at milestones to a searcher (BOHB).

    Unlike `HyperBandScheduler`, it fills the bracket with the most trials first, gives slots to
    brackets in the order in which they were begun, and halves a bracket only when the bracket is
    filled, or when otherwise no trial could run; the trial that came last then pauses, too. Results
    at a milestone get ``hyperband_info`` with the milestone as ``budget``, and the searcher is
    notified of trials that pause and continue.

    What differs from Ray Tune: the last trial of a bracket that is not filled stops at once if it
    is not kept, where Ray pauses it before it ends it; and see `HyperBandScheduler`.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        max_t: Time at which a trial ends, in units of `time_attr`.
        reduction_factor: About one trial in so many goes on from a milestone.
        stop_last_trials: Whether the trials that are left at `max_t` end.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def _kind(self, place: int) -> int:
        return self._num_kinds - 1 - place

    def _brackets_in_turn(self) -> list[Bracket]:
        return [bracket for _, bracket in self._brackets]

    def _at_milestone(
        self, controller: ControllerView, bracket: Bracket, trial: Trial, result: dict[str, Any]
    ) -> str:
        result["hyperband_info"] = {"budget": bracket.milestone}
        filled = bracket.is_filled
        answer = super()._at_milestone(controller, bracket, trial, result)
        if answer == self.CONTINUE and not filled:
            answer = self.PAUSE
        elif answer == self.PAUSE:
            _tell_searcher(controller, "on_pause", trial.trial_id)
        return answer

    def _advance(
        self, controller: ControllerView, bracket: Bracket, current: Trial | None = None
    ) -> None:
        if bracket.is_filled:
            self._halve(controller, bracket, current)
        for each in self._brackets_in_turn():
            if any(self._may_run(b, t) for b in self._brackets_in_turn() for t in b.trials):
                return
            self._halve(controller, each, current)

    def _halve(self, controller: ControllerView, bracket: Bracket, current: Trial | None) -> None:
        waiting = [trial_id for trial_id in bracket.trials if not self._may_run(bracket, trial_id)]
        super()._advance(controller, bracket, current)
        for trial_id in waiting:
            goes_on = trial_id in bracket.trials and self._may_run(bracket, trial_id)
            if goes_on and (current is None or trial_id != current.trial_id):
                _tell_searcher(controller, "on_unpause", trial_id)


def _tell_searcher(controller: ControllerView, hook: str, trial_id: str) -> None:
    tell = getattr(controller.search_alg, hook, None)
    if tell is not None:
        tell(trial_id)
