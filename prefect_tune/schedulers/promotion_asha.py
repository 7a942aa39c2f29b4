"""`PromotionASHAScheduler`: ASHA that pauses trials at rungs and promotes the best ones.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), algorithm 2: a free
slot goes to a trial among the best ``1 / reduction_factor`` of the highest rung that has one, and
to a new trial if there is none. A trial that is not promoted yet may be later, when more trials
have come to its rung; none is lost because it came early.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from itertools import chain
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.experiment.trial import PAUSED, PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.trial_scheduler import GroupScheduler, check_rungs

_MOST_RUNGS = 1000


class _Rung:
    """A rung, at which trials wait to be promoted.

    Attributes:
        milestone: The time of the rung.
        rewards: Rewards of all trials that have reached the rung, ascending.
        waiting: ``(reward, order of creation, id)`` of the waiting trials, ascending.
    """

    def __init__(self, milestone: float) -> None:
        self.milestone = milestone
        self.rewards: list[float] = []
        self.waiting: list[tuple[float, int, str]] = []

    def best(self, factor: float) -> str | None:
        """Return the id of the best waiting trial, if it is among the best of the rung."""
        if not self.waiting:
            return None
        reward, _, trial_id = self.waiting[-1]
        better = len(self.rewards) - bisect_right(self.rewards, reward)
        return trial_id if better < int(len(self.rewards) / factor) else None


class PromotionASHAScheduler(GroupScheduler):
    """Pauses trials at rungs and promotes the best of each rung when a slot is free.

    When no trial can run any more, the waiting ones end. Trials need checkpoints, as with
    `HyperBandScheduler`.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        max_t: Time at which a trial ends, in units of `time_attr`.
        grace_period: Time of the first rung.
        reduction_factor: About one trial in so many is promoted from a rung.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_rungs(max_t, grace_period, reduction_factor)
        if math.log(max_t / grace_period) / math.log(reduction_factor) > _MOST_RUNGS:
            raise InvalidArgument(
                "reduction_factor",
                f"{reduction_factor!r} makes more than {_MOST_RUNGS} rungs.",
                "Give a larger one.",
            )
        self._factor = reduction_factor
        self._max_t = max_t
        self._rungs: list[_Rung] = []
        milestone = grace_period
        while milestone < max_t:
            self._rungs.append(_Rung(milestone))
            milestone *= reduction_factor
        # Number of each unfinished trial, and its next rung.
        self._climbs: dict[str, tuple[int, int]] = {}
        # Of each waiting trial, the attempt that reached the rung, and the reward there.
        self._waiting: dict[str, tuple[int, float]] = {}
        self._at_failure: dict[str, tuple[int, int]] = {}
        self._num_added = 0
        self._num_promoted = 0

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Put a new trial below the first rung; a retried trial keeps its rung."""
        super().on_trial_add(controller, trial)
        if trial.trial_id not in self._climbs:
            known = self._at_failure.pop(trial.trial_id, None)
            self._climbs[trial.trial_id] = known or (self._num_added, 0)
            self._num_added += 1

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """At a rung, continue the trial if it is the next to be promoted, else pause it.

        Raises:
            InvalidArgument: If the time or the metric is not a number.
        """
        climb = self._climbs.get(trial.trial_id)
        metric = str(self._metric)
        if climb is None or result.get(self._time_attr) is None or result.get(metric) is None:
            self._tell_without_time(trial, result)
            return self.CONTINUE
        time = self._number(result, self._time_attr, "time_attr")
        if time >= self._max_t:
            return self.STOP
        number, level = climb
        while level < len(self._rungs) and time >= self._rungs[level].milestone:
            reward = self._metric_op * self._number(result, metric, "metric")
            if math.isnan(reward):
                reward = -math.inf
            rung = self._rungs[level]
            self._note_launched_promotions(controller)
            insort(rung.rewards, reward)
            insort(rung.waiting, (reward, number, trial.trial_id))
            self._waiting[trial.trial_id] = trial.attempt, reward
            level += 1
            self._climbs[trial.trial_id] = number, level
            if self._promotable() != trial.trial_id:
                self._end_if_idle(controller, trial)
                return self.PAUSE if trial.trial_id in self._climbs else self.STOP
            self._remove_from_rung(trial.trial_id)
            self._num_promoted += 1
        return self.CONTINUE

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial, and keep its rung for a retry."""
        climb = self._climbs.get(trial.trial_id)
        if climb is not None:
            self._at_failure[trial.trial_id] = climb
        super().on_trial_error(controller, trial)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial; its results at rungs stay recorded."""
        if trial.trial_id in self._climbs:
            self._remove_from_rung(trial.trial_id)
            del self._climbs[trial.trial_id]
            self._note_launched_promotions(controller)
            self._end_if_idle(controller, None)

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the trial to promote, or else one that does not wait at a rung."""
        self._note_launched_promotions(controller)
        promoted = controller.get_trial(self._promotable() or "")
        others = (
            trial
            for trial in controller.get_waiting_trials()
            if trial.trial_id in self._climbs and trial.trial_id not in self._waiting
        )
        for trial in others if promoted is None else chain([promoted], others):
            waits = trial.status in (PENDING, PAUSED)
            if waits and controller.has_resources_for_trial(trial):
                return trial
        return None

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the trial's next rung."""
        _, level = self._climbs.get(trial.trial_id, (0, len(self._rungs)))
        rungs = self._rungs
        milestone = rungs[level].milestone if level < len(rungs) else self._max_t
        return RunUntil(((self._time_attr, milestone),))

    def debug_string(self) -> str:
        """Return the numbers of promotions, and of trials that reached or wait at each rung."""
        lines = [f"Using {type(self).__name__}: {self._num_promoted} promotions"]
        lines += [
            f"Rung {rung.milestone:g}: {len(rung.rewards)} came, {len(rung.waiting)} wait"
            for rung in self._rungs
        ]
        return "\n".join(lines)

    # -- rungs ------------------------------------------------------------------------------------

    def _promotable(self) -> str | None:
        """Return the id of the next trial to promote, looking at the highest rung first."""
        for rung in reversed(self._rungs):
            trial_id = rung.best(self._factor)
            if trial_id is not None:
                return trial_id
        return None

    def _note_launched_promotions(self, controller: ControllerView) -> None:
        """Note which promoted trials have been launched, and so no longer wait at their rungs.

        Trials are launched in the order in which they are promoted.
        """
        while (trial_id := self._promotable()) is not None:
            trial = controller.get_trial(trial_id)
            if trial is None or trial.attempt == self._waiting[trial_id][0]:
                return
            self._remove_from_rung(trial_id)
            self._num_promoted += 1

    def _remove_from_rung(self, trial_id: str) -> None:
        """Remove a trial from the waiting trials of its rung, if it is one of them."""
        number, level = self._climbs[trial_id]
        if trial_id in self._waiting:
            _, reward = self._waiting.pop(trial_id)
            waiting = self._rungs[level - 1].waiting
            del waiting[bisect_left(waiting, (reward, number, trial_id))]

    def _end_if_idle(self, controller: ControllerView, current: Trial | None) -> None:
        """End all trials if all wait and none is to be promoted."""
        if len(self._waiting) < len(self._climbs) or self._promotable() is not None:
            return
        waiting = [trial_id for rung in self._rungs for _, _, trial_id in rung.waiting]
        for rung in self._rungs:
            rung.waiting.clear()
        self._waiting.clear()
        for trial_id in waiting:
            del self._climbs[trial_id]
        for trial_id in waiting:
            trial = controller.get_trial(trial_id)
            if trial is not None and trial is not current:
                controller.stop_trial(trial)
