"""`AsyncHyperBandScheduler` (ASHA): asynchronous successive halving.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), in the stopping
variant of Ray Tune 2.0: a trial is judged once at each rung against those that came there before
it, and never waits for others.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.quantile import GrowingQuantile
from prefect_tune.schedulers.trial_scheduler import ObjectiveScheduler, check_rungs
from prefect_tune.validation import check_count

logger = logging.getLogger(__name__)

_MOST_BRACKETS = 100
_MOST_RUNGS = 1000

RandomState = int | np.random.RandomState | np.random.Generator


@dataclass(slots=True, eq=False)
class _Climb:
    """The bracket of a live trial, and the rungs that the trial has reached.

    Attributes:
        bracket: The bracket that was drawn for the trial.
        recorded: Bit set of the rungs with a result of the trial, numbered over all brackets. A
            trial that is retried may get another bracket, and is judged at most once at each rung.
        highest: The highest rung of the bracket that the trial has reached, -1 before the first.
    """

    bracket: _Bracket
    recorded: int
    highest: int = -1


class _Bracket:
    """The rungs of one bracket, ascending.

    Args:
        milestones: Times of the rungs.
        first_bit: Number of the lowest rung in `_Climb.recorded`.
        cutoff: The quantile that a trial has to reach.
        fills_lower: Whether a trial that skipped a rung is judged there by a later result.
    """

    def __init__(
        self, milestones: list[float], first_bit: int, cutoff: float, fills_lower: bool
    ) -> None:
        self.milestones = milestones
        self.rewards = [GrowingQuantile(cutoff) for _ in milestones]
        self._bits = [1 << (first_bit + rung) for rung in range(len(milestones))]
        self._until = [float(milestone) for milestone in milestones]
        self._fills_lower = fills_lower

    def judge(self, climb: _Climb, time: float, reward: float) -> bool:
        """Record a result at a rung that it has reached; return True if the trial has to stop."""
        # The highest rung at or below `time` without a result of the trial.
        rung = bisect_right(self.milestones, time) - 1 if time == time else -1
        bits, recorded = self._bits, climb.recorded
        if self._fills_lower:
            while rung >= 0 and recorded & bits[rung]:
                rung -= 1
        if rung < 0:
            return False
        if rung > climb.highest:
            climb.highest = rung
        if recorded & bits[rung]:
            return False
        rewards = self.rewards[rung]
        cutoff = rewards.value()
        rewards.add(reward)
        climb.recorded = recorded | bits[rung]
        return cutoff is not None and reward < cutoff

    def next_milestone(self, climb: _Climb) -> float | None:
        """Return the earliest time at which a result can be recorded."""
        lowest = 0 if self._fills_lower else climb.highest + 1
        for rung in range(lowest, len(self.milestones)):
            if not climb.recorded & self._bits[rung]:
                return self._until[rung]
        return None


class AsyncHyperBandScheduler(ObjectiveScheduler):
    """Stops trials early that are worse than most others at the same time (ASHA).

    The rungs of bracket ``s`` lie at ``grace_period * reduction_factor ** (k + s)``, up to `max_t`.
    The first result at or after a rung is compared with those recorded there before it; a trial
    strictly worse than their ``1 - 1 / reduction_factor`` quantile is stopped. The first trial at a
    rung always goes on, and every result that was judged is recorded, that of a stopped trial too.

    A trial that jumps over a rung is judged at the higher one, and later at the lower ones it
    missed (unless `stop_last_trials` is False), as in Ray Tune.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        max_t: Time at which a trial ends, in units of `time_attr`.
        grace_period: Time before which no trial is stopped.
        reduction_factor: About one trial in so many goes on from a rung.
        brackets: Number of brackets; bracket ``s`` leaves out the ``s`` lowest rungs. A trial's
            bracket is drawn by a softmax over the numbers of rungs.
        stop_last_trials: Whether trials end at `max_t`.
        random_state: Seed or generator of the bracket draw; None continues numpy's global state, as
            it is at the first trial.

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
        brackets: int = 1,
        stop_last_trials: bool = True,
        *,
        random_state: RandomState | None = None,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        check_rungs(max_t, grace_period, reduction_factor)
        check_count("brackets", brackets, at_least=1)
        if brackets > _MOST_BRACKETS:
            raise InvalidArgument(
                "brackets",
                f"got {brackets!r}.",
                f"Give at most {_MOST_BRACKETS}: bracket s leaves out the s lowest rungs.",
            )
        self._max_t = max_t
        self._reduction_factor = reduction_factor
        self._stop_last_trials = stop_last_trials
        self._brackets = self._build_brackets(grace_period, brackets)
        self._bracket_odds = _softmax_steps([len(b.milestones) for b in self._brackets])
        self._random = _generator(random_state)
        self._climbs: dict[str, _Climb] = {}
        self._untils: dict[float, RunUntil] = {}
        self._num_stopped = 0

    @property
    def time_attr(self) -> str:
        """The result key that counts as time."""
        return self._time_attr

    @property
    def milestones(self) -> list[list[float]]:
        """The times of the rungs of each bracket, ascending."""
        return [list(bracket.milestones) for bracket in self._brackets]

    @property
    def reduction_factor(self) -> float:
        """The reciprocal of the share of trials that go on from a rung."""
        return self._reduction_factor

    @property
    def stops_at(self) -> float | None:
        """The time at which the scheduler ends each trial; None if it does not."""
        return self._max_t if self._stop_last_trials else None

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Draw the trial's bracket."""
        if self._metric is None or self._mode is None:
            super().on_trial_add(controller, trial)  # says which is missing
        known = self._climbs.get(trial.trial_id)
        bracket = self._brackets[0] if len(self._brackets) == 1 else self._draw_bracket()
        self._climbs[trial.trial_id] = _Climb(bracket, 0 if known is None else known.recorded)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Stop at `max_t`, or if the result is too bad for its rung.

        Raises:
            InvalidArgument: If the time or the metric is not a number.
        """
        if self._time_attr not in result or self._metric not in result:
            self._tell_without_time(trial, result)
            return self.CONTINUE
        time = result[self._time_attr]
        if type(time) is not int:
            time = self._number(result, self._time_attr, "time_attr")
        if self._stop_last_trials and time >= self._max_t:
            stop = True
        else:
            stop = self._judge(self._climb_of(trial), trial, time, result)
        if not stop:
            return self.CONTINUE
        self._num_stopped += 1
        return self.STOP

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Record the trial's last result and remove the trial."""
        climb = self._climbs.pop(trial.trial_id, None)
        if climb is None or not result:
            return
        if self._time_attr in result and self._metric in result:
            time = self._number(result, self._time_attr, "time_attr")
            self._judge(climb, trial, time, result)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial."""
        self._climbs.pop(trial.trial_id, None)

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the trial's next rung, or `max_t`.

        This requires that `time_attr` does not decrease during the trial.
        """
        climb = self._climb_of(trial)
        milestone = climb.bracket.next_milestone(climb)
        if self._stop_last_trials:
            milestone = self._max_t if milestone is None else min(milestone, self._max_t)
        if milestone is None:
            return NEVER
        until = self._untils.get(milestone)
        if until is None:
            until = self._untils[milestone] = RunUntil(((self._time_attr, milestone),))
        return until

    def debug_string(self) -> str:
        """Return the number of stopped trials and the cut-off of every rung."""
        lines = [f"Using AsyncHyperBand: num_stopped={self._num_stopped}"]
        for bracket in self._brackets:
            rungs = [
                f"Iter {milestone:.3f}: {self._shown(rewards.value())}"
                for milestone, rewards in zip(bracket.milestones, bracket.rewards, strict=True)
            ]
            lines.append("Bracket: " + " | ".join(reversed(rungs)))
        return "\n".join(lines)

    def _judge(self, climb: _Climb, trial: Trial, time: float, result: dict[str, Any]) -> bool:
        value = result[self._metric]  # type: ignore[index]
        if type(value) is not float:
            metric = str(self._metric)
            if value is None:
                logger.warning("Trial %s reported None as %r; it is ignored.", trial, metric)
                return False
            value = self._number(result, metric, "metric")
        return climb.bracket.judge(climb, time, self._metric_op * value)

    def _climb_of(self, trial: Trial) -> _Climb:
        try:
            return self._climbs[trial.trial_id]
        except KeyError:
            raise TuneError(
                f"{type(self).__name__} does not know trial {trial.trial_id!r}: on_trial_add was "
                "not called, or the trial is complete."
            ) from None

    def _draw_bracket(self) -> _Bracket:
        if self._random is None:
            # A generator of our own, so that the draws go on where they were after a resume; it
            # draws what numpy's own one would, as in Ray Tune.
            self._random = np.random.RandomState()
            self._random.set_state(np.random.get_state())
            np.random.random_sample()  # another scheduler does not draw the same
        return self._brackets[bisect_right(self._bracket_odds, self._random.random())]

    def _build_brackets(self, grace_period: float, count: int) -> list[_Bracket]:
        factor = self._reduction_factor
        cutoff = (1 - 1 / factor) * 100 / 100  # the rounding of a percentile
        # Truncating the quotient of two rounded logarithms can lose the top rung, e.g. for 10 ** 3.
        # Ray Tune's rungs come out of the same rounding.
        depth = (np.log(self._max_t) - np.log(grace_period)) / np.log(factor)
        if depth > _MOST_RUNGS:
            raise InvalidArgument(
                "reduction_factor",
                f"{factor!r} makes {depth:.0f} rungs between grace_period={grace_period!r} and "
                f"max_t={self._max_t!r}.",
                f"Give one that makes at most {_MOST_RUNGS}.",
            )
        depth = np.log(self._max_t / grace_period) / np.log(factor)
        brackets = []
        first_bit = 0
        for s in range(count):
            milestones = [grace_period * factor ** (k + s) for k in range(int(depth - s + 1))]
            brackets.append(_Bracket(milestones, first_bit, cutoff, self._stop_last_trials))
            first_bit += len(milestones)
        return brackets

    def _shown(self, cutoff: float | None) -> str:
        return "None" if cutoff is None else f"{self._metric_op * cutoff:.6g}"


#: The name of the algorithm in the paper.
ASHAScheduler = AsyncHyperBandScheduler


def _softmax_steps(sizes: list[int]) -> list[float]:
    """Divide [0, 1) between the brackets by a softmax, and return the dividing points."""
    weights = np.exp(np.array(sizes, dtype=float) - max(sizes))
    return list(accumulate((weights / weights.sum()).tolist()))[:-1]


def _generator(
    random_state: RandomState | None,
) -> np.random.RandomState | np.random.Generator | None:
    if random_state is None or isinstance(
        random_state, (np.random.RandomState, np.random.Generator)
    ):
        return random_state
    check_count("random_state", random_state, at_least=0)
    return np.random.RandomState(random_state)
