"""`HyperBandScheduler`: successive halving in brackets with different milestones.

Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (JMLR 2018). A
bracket runs many trials for a short time or few for a long one; whenever all its trials have come
to its milestone, the best ``1 / reduction_factor`` of them go on to the next one, the others end.
As in Ray Tune brackets are filled from the one with the fewest trials on, and what is kept is
rounded up.
"""

from __future__ import annotations

import math
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import PAUSED, PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import GroupScheduler
from prefect_tune.validation import check_number

_MOST_BRACKETS = 100


class Bracket:
    """A group of trials that is halved at milestones.

    Args:
        size: Number of trials in the bracket.
        milestone: Time at which the first halving takes place.
        halvings: Number of halvings.
        eta: The factor by which a halving reduces the number of trials.
        max_t: The last milestone.

    Attributes:
        trials: Newest time and reward of each unfinished trial, in order of creation; the reward is
            -inf before the first result.
        milestone: The time at which the trials wait for each other.
        halvings: Number of halvings left.
    """

    def __init__(self, size: int, milestone: int, halvings: int, eta: float, max_t: float) -> None:
        self.trials: dict[str, tuple[float, float]] = {}
        self.milestone: float = milestone
        self.halvings = halvings
        self._size = size
        self._eta = eta
        self._max_t = max_t
        self._done = 0.0
        self._work = self._total_work()

    @property
    def is_filled(self) -> bool:
        """True if the bracket has all its trials."""
        return len(self.trials) >= self._size

    @property
    def has_arrived(self) -> bool:
        """True if all trials of the bracket have reached the milestone."""
        milestone = self.milestone
        return all(time >= milestone for time, _ in self.trials.values())

    @property
    def completion(self) -> float:
        """The share of the bracket's work that is done."""
        return min(self._done / self._work, 1.0)

    def update(self, trial_id: str, time: float, reward: float) -> None:
        """Note a trial's newest result; after a restore, its time may be earlier."""
        self._done += time - self.trials[trial_id][0]
        self.trials[trial_id] = time, -math.inf if math.isnan(reward) else reward

    def halve(self) -> list[str]:
        """Set the next milestone, and remove and return the trials that have to end."""
        self.halvings -= 1
        self._size = math.ceil(self._size / self._eta)
        self.milestone = int(min(self.milestone * self._eta, self._max_t))
        # The sort is stable: of two that are equally good, the later one is kept.
        ranked = sorted(self.trials, key=lambda trial_id: self.trials[trial_id][1])
        bad = ranked[: max(0, len(ranked) - self._size)]
        for trial_id in bad:
            del self.trials[trial_id]
        return bad

    def clear(self) -> list[str]:
        """Remove and return all trials, which end at the last milestone."""
        trial_ids = list(self.trials)
        self.trials.clear()
        return trial_ids

    def describe(self) -> str:
        """Return a line about the bracket for the console."""
        return (
            f"{len(self.trials)} of {self._size} trials until {self.milestone:g}, "
            f"{self.halvings} halvings left, {self.completion:.0%} done"
        )

    def _total_work(self) -> float:
        """Return the bracket's total time of training by Ray Tune's formula."""
        work, size, steps = 0.0, self._size, self.milestone
        for _ in range(self.halvings + 1):
            work += size * steps
            size = math.ceil(size / self._eta)
            steps = int(min(steps * self._eta, self._max_t - self.milestone))
        return work


class HyperBandScheduler(GroupScheduler):
    """Pauses groups of trials at milestones and continues the best of each group (HyperBand).

    A trial waits, paused, at the milestone of its bracket until all others of the bracket have come
    there, or have ended. Then the best go on, and the others end. Trials need checkpoints to go on
    from: class trainables write one when they pause, functions have to save them.

    What differs from Ray Tune, which otherwise decides the same:

    * After a bracket's first halving, and at its last milestone, Ray goes on waiting for a trial
      that has ended or failed: the others stay paused until another trial of the bracket comes to
      the milestone, or for ever. Here its end counts as an arrival.
    * If all kept trials have jumped over the next milestone as well, Ray leaves them paused for
      ever. Here the bracket is halved again at once.
    * If all trials of a bracket have ended before its first milestone, Ray halves the empty
      bracket, and later trials in it are first compared at the next milestone. Here the milestone
      stays.
    * A result that is NaN counts as the worst; with it, Ray's order depends on the sort. A result
      without the metric is passed over, where Ray raises an error.

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

    _supports_buffered_results = False

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_number("max_t", max_t, at_least=1)
        check_number("reduction_factor", reduction_factor, above=1)
        self._max_t = max_t
        self._eta = reduction_factor
        self._stop_last_trials = stop_last_trials
        self._num_kinds = round(math.log(max_t) / math.log(reduction_factor)) + 1
        if self._num_kinds > _MOST_BRACKETS:
            raise InvalidArgument(
                "reduction_factor",
                f"{reduction_factor!r} makes {self._num_kinds} kinds of brackets for "
                f"max_t={max_t!r}.",
                f"Give one that makes at most {_MOST_BRACKETS}.",
            )
        self._kinds_used = 0
        self._filling: Bracket | None = None
        # Those that have trials, in the order in which they were begun, each with its band.
        self._brackets: list[tuple[int, Bracket]] = []
        self._bracket_of: dict[str, Bracket] = {}
        self._num_stopped = 0

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Add a new trial to the bracket that is being filled."""
        super().on_trial_add(controller, trial)
        if trial.trial_id in self._bracket_of:
            return  # it goes on after an interruption
        if self._filling is None or self._filling.is_filled:
            self._filling = self._next_bracket()
        bracket = self._filling
        if not bracket.trials:
            band = (self._kinds_used - 1) // self._num_kinds
            self._brackets = [entry for entry in self._brackets if entry[1].trials]
            self._brackets.append((band, bracket))
        bracket.trials[trial.trial_id] = 0.0, -math.inf
        self._bracket_of[trial.trial_id] = bracket

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Pause a trial at the milestone, and halve its bracket if all trials have reached it.

        Raises:
            InvalidArgument: If the time or the metric is not a number.
        """
        bracket = self._bracket_of.get(trial.trial_id)
        metric = str(self._metric)
        if result.get(self._time_attr) is None or result.get(metric) is None or bracket is None:
            self._tell_without_time(trial, result)
            return self.CONTINUE
        time = self._number(result, self._time_attr, "time_attr")
        bracket.update(
            trial.trial_id, time, self._metric_op * self._number(result, metric, "metric")
        )
        if self._may_run(bracket, trial.trial_id):
            return self.CONTINUE
        return self._at_milestone(controller, bracket, trial, result)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial, for which other trials of its bracket then no longer wait."""
        bracket = self._bracket_of.pop(trial.trial_id, None)
        if bracket is not None:
            del bracket.trials[trial.trial_id]
            self._advance(controller, bracket)

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return a trial that does not wait for others, from the bracket with the least done."""
        for bracket in self._brackets_in_turn():
            for trial_id in bracket.trials:
                if not self._may_run(bracket, trial_id):
                    continue
                trial = controller.get_trial(trial_id)
                if (
                    trial is not None
                    and trial.status in (PENDING, PAUSED)
                    and controller.has_resources_for_trial(trial)
                ):
                    return trial
        return None

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the milestone of the trial's bracket."""
        bracket = self._bracket_of.get(trial.trial_id)
        if bracket is None or self._is_last_and_free(bracket):
            return NEVER
        return RunUntil(((self._time_attr, bracket.milestone),))

    def debug_string(self) -> str:
        """Return the number of stopped trials, and a line about each bracket."""
        lines = [f"Using {type(self).__name__}: num_stopped={self._num_stopped}"]
        lines += [
            f"Band {band}: {bracket.describe()}"
            for band, bracket in self._brackets
            if bracket.trials
        ]
        return "\n".join(lines)

    # -- brackets ---------------------------------------------------------------------------------

    def _kind(self, place: int) -> int:
        """Return the number of halvings of the bracket at a place of its band, from 0 on."""
        return place

    def _next_bracket(self) -> Bracket:
        while True:
            s = self._kind(self._kinds_used % self._num_kinds)
            self._kinds_used += 1
            milestone = int(self._max_t * self._eta ** (-s))
            if milestone:  # too short a time makes no bracket
                size = math.ceil(self._num_kinds / (s + 1) * self._eta**s)
                return Bracket(size, milestone, s, self._eta, self._max_t)

    def _brackets_in_turn(self) -> list[Bracket]:
        """Return the brackets in the order in which their trials get slots."""
        ranked = sorted(self._brackets, key=lambda entry: (entry[0], entry[1].completion))
        return [bracket for _, bracket in ranked]

    def _is_last_and_free(self, bracket: Bracket) -> bool:
        return not bracket.halvings and not self._stop_last_trials

    def _may_run(self, bracket: Bracket, trial_id: str) -> bool:
        """Return True if a trial may run, without waiting for others of its bracket."""
        time, _ = bracket.trials[trial_id]
        return time < bracket.milestone or self._is_last_and_free(bracket)

    def _at_milestone(
        self, controller: ControllerView, bracket: Bracket, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Return the decision for a trial that has reached its milestone."""
        self._advance(controller, bracket, trial)
        if trial.trial_id not in self._bracket_of:
            return self.STOP
        return self.CONTINUE if self._may_run(bracket, trial.trial_id) else self.PAUSE

    def _advance(
        self, controller: ControllerView, bracket: Bracket, current: Trial | None = None
    ) -> None:
        """Halve a bracket if all its trials have reached the milestone, and end the others.

        Args:
            controller: Ends trials.
            bracket: The bracket.
            current: The trial whose result is being handled; the caller ends it.
        """
        bad: list[str] = []
        while bracket.trials and bracket.has_arrived and not self._is_last_and_free(bracket):
            bad += bracket.halve() if bracket.halvings else bracket.clear()
        # All are forgotten before the first is ended: nothing follows from `on_trial_remove` then.
        for trial_id in bad:
            del self._bracket_of[trial_id]
        self._num_stopped += len(bad)
        for trial_id in bad:
            trial = controller.get_trial(trial_id)
            if trial is not None and trial is not current:
                controller.stop_trial(trial)
