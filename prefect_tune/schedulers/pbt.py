"""`PopulationBasedTraining`: bad trials continue from copies of good ones with changed values.

Jaderberg et al., "Population Based Training of Neural Networks" (2017), with the rules of Ray Tune.
Every `perturbation_interval` a trial among the worst ``quantile_fraction`` exploits one of the
best: it goes on from its checkpoint, and explores: its hyperparameters are changed a little, or
drawn anew.
"""

from __future__ import annotations

import logging
import math
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.mutations import (
    Mutations,
    check_mutations,
    explore,
    fill,
    mutated_values,
    perturbed_tag,
)
from prefect_tune.schedulers.pbt_replay import PopulationBasedTrainingReplay
from prefect_tune.schedulers.trial_scheduler import GroupScheduler
from prefect_tune.text import in_words
from prefect_tune.validation import check_callable, check_number

__all__ = ["PopulationBasedTraining", "PopulationBasedTrainingReplay"]

_logger = logging.getLogger("prefect_tune")


@dataclass(slots=True)
class Member:
    """A live trial of the population, with its score at its last perturbation interval.

    Attributes:
        number: Of two trials with equal scores, the one with the higher number counts as better.
        score: Score at the end of the last interval, more is better; None before the first.
        train_time: Time at the end of the last interval.
        perturbed_at: Time at which the next interval begins.
        was_good: Whether the trial was among the best then; only such trials are copied.
        perturbations: Number of intervals that the trial has ended.
    """

    number: int
    score: float | None = None
    train_time: float = 0.0
    perturbed_at: float = 0.0
    was_good: bool = False
    perturbations: int = 0


class PopulationBasedTraining(GroupScheduler):
    """Replaces bad trials by copies of good ones with changed hyperparameters (PBT).

    Trials need checkpoints. Class trainables are asked for a checkpoint when they are among the
    best; functions have to save them with `report`. A trial without a checkpoint is never copied.
    NaN counts as the worst score; Ray Tune leaves it at the rank where its sort happens to put it.
    With fewer slots than trials, trials pause at the end of each interval, so that all trials are
    trained for the same time.

    Args:
        time_attr: The result key that counts as time.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.
        perturbation_interval: Time between two looks at a trial, in units of `time_attr`.
        burn_in_period: Time before which nothing is perturbed.
        hyperparam_mutations: What may be changed: key -> list of values, domain, function without
            arguments, or a dict of these. What a configuration lacks of it is drawn.
        quantile_fraction: The share of the best, and of the worst; at most 0.5.
        resample_probability: How likely a hyperparameter is drawn anew instead of changed a little.
        perturbation_factors: What numbers are multiplied by.
        custom_explore_fn: Gets the changed configuration and returns the one to use.
        log_config: Whether each copy is written to ``pbt_global.txt`` and ``pbt_policy_*.txt``.
        require_attrs: Whether a result without `time_attr` or the metric is an error.
        synch: Whether all trials wait for each other at the end of each interval. If the sweep is
            killed while a trial waits whose checkpoint has not come to storage, that trial is not
            copied at the end of this interval; so what is copied may differ from a sweep that was
            not killed. Nothing is lost or run twice.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mutations | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        mutations = {} if hyperparam_mutations is None else hyperparam_mutations
        check_mutations(mutations)
        if not mutations and custom_explore_fn is None:
            raise InvalidArgument(
                "hyperparam_mutations",
                "nothing says which hyperparameters may be changed.",
                "Give it, or `custom_explore_fn`.",
            )
        if custom_explore_fn is not None:
            check_callable("custom_explore_fn", custom_explore_fn, "of a configuration")
        check_number("perturbation_interval", perturbation_interval, above=0)
        check_number("burn_in_period", burn_in_period, at_least=0)
        check_number("quantile_fraction", quantile_fraction, above=0, at_most=0.5)
        check_number("resample_probability", resample_probability, at_least=0, at_most=1)
        if not isinstance(perturbation_factors, Sequence) or not perturbation_factors:
            raise InvalidArgument(
                "perturbation_factors",
                f"got {perturbation_factors!r}.",
                "Give a tuple of factors, such as (1.2, 0.8).",
            )
        for factor in perturbation_factors:
            check_number("perturbation_factors", factor, above=0)
        self._interval = perturbation_interval
        self._burn_in = burn_in_period
        self._mutations = mutations
        self._quantile_fraction = quantile_fraction
        self._resample_probability = resample_probability
        self._factors = tuple(perturbation_factors)
        self._custom_explore = custom_explore_fn
        self.log_config = log_config
        self._require_attrs = require_attrs
        self._synch = synch
        self._next_sync = max(perturbation_interval, burn_in_period)
        self._members: dict[str, Member] = {}
        # Score, number and id of those that have a score, from worst to best.
        self._ranked: list[tuple[float, int, str]] = []
        self._num_added = 0
        self._dice: random.Random | None = None
        self._stream: np.random.RandomState | None = None
        self._seed: int | None = None
        self._num_perturbations = 0
        self._has_warned = False

    # -- the population ---------------------------------------------------------------------------

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over metric, mode and the experiment's ``seed`` for draws."""
        self._seed = spec.get("seed", self._seed)
        return super().set_search_properties(metric, mode, **spec)

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Add a trial to the population, and draw hyperparameters that its configuration lacks.

        Raises:
            InvalidArgument: If a searcher suggests configurations, since it could not learn from
                changed ones.
        """
        super().on_trial_add(controller, trial)
        if trial.trial_id in self._members:
            return  # it goes on after an interruption
        _reject_searchers(self, controller.search_alg)
        self._members[trial.trial_id] = Member(self._num_added)
        self._num_added += 1
        for path in fill(trial.config, self._mutations, *self._generators()):
            trial.evaluated_params[path] = mutated_values(trial.config, self._mutations).get(path)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """At the end of an interval, rank the trial and replace it by a copy if it is bad.

        Raises:
            TuneError: If the result lacks the time or the metric, unless `require_attrs` is False.
            InvalidArgument: If the time or the metric is not a number.
        """
        metric = str(self._metric)
        if result.get(self._time_attr) is None or result.get(metric) is None:
            self._refuse_incomplete(trial, result)
            return self.CONTINUE
        member = self._members.get(trial.trial_id)
        time = self._number(result, self._time_attr, "time_attr")
        if member is None or time < self._burn_in or time - member.perturbed_at < self._interval:
            return self.CONTINUE
        if self._synch and time < self._next_sync:
            return self.CONTINUE
        score = self._metric_op * self._number(result, metric, "metric")
        self._observe(trial, time, score)
        self._rank(trial.trial_id, member, -math.inf if math.isnan(score) else score)
        member.train_time = time
        member.perturbations += 1
        if self._synch:
            self._perturb_all(controller, time)
            return self.PAUSE
        member.perturbed_at = time
        self._perturb(controller, trial)
        return self.PAUSE if any(controller.get_waiting_trials()) else self.CONTINUE

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Remove the trial from the population; other trials no longer wait for it."""
        member = self._members.get(trial.trial_id)
        if member is not None:
            self._rank(trial.trial_id, member, None)
            del self._members[trial.trial_id]
            if self._synch:
                self._perturb_all(controller, self._next_sync)

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the waiting trial with the least training time."""
        chosen: Trial | None = None
        least = math.inf
        for trial in controller.get_waiting_trials():
            member = self._members.get(trial.trial_id)
            if member is None:
                continue
            if self._synch and member.train_time >= self._next_sync:
                continue
            if member.train_time < least and controller.has_resources_for_trial(trial):
                chosen, least = trial, member.train_time
        return chosen

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the end of the trial's interval."""
        member = self._members.get(trial.trial_id)
        begin = 0.0 if member is None else member.perturbed_at
        until = max(begin + self._interval, self._burn_in, self._next_sync if self._synch else 0.0)
        # The sum may be rounded up.
        return RunUntil(((self._time_attr, math.nextafter(until, 0.0)),))

    def debug_string(self) -> str:
        """Return the number of copies, and the best trials of the population."""
        lines = [f"{type(self).__name__}: {self._num_perturbations} perturbs"]
        if self._ranked:
            best = self._ranked[:-11:-1]
            shown = (f"{key} ({self._metric_op * score:.6g})" for score, _, key in best)
            lines.append(f"Population of {len(self._members)}, best first: {', '.join(shown)}")
        return "\n".join(lines)

    # -- exploit and explore ----------------------------------------------------------------------

    def _rank(self, trial_id: str, member: Member, score: float | None) -> None:
        """Set a trial's score and its place in the ranking; None removes it from the ranking."""
        if member.score is not None:
            del self._ranked[self._find_rank(trial_id, member)]
        member.score = score
        if score is not None:
            insort(self._ranked, (score, member.number, trial_id))

    def _find_rank(self, trial_id: str, member: Member) -> int:
        """Return the trial's place in the ranking, from 0 for the worst."""
        return bisect_left(self._ranked, (member.score, member.number, trial_id))

    def _quantile_size(self) -> int:
        """Return the number of trials in the upper, and in the lower, quantile."""
        count = len(self._ranked)
        return min(math.ceil(count * self._quantile_fraction), count // 2)

    def _perturb(self, controller: ControllerView, trial: Trial) -> None:
        """Save a trial that is among the best, or replace it by a copy if it is among the worst."""
        member = self._members[trial.trial_id]
        place, size, count = (
            self._find_rank(trial.trial_id, member),
            self._quantile_size(),
            len(self._ranked),
        )
        member.was_good = place >= count - size
        if member.was_good:
            controller.save_checkpoint(trial)
        if place < size:
            source_id = self._ranked[self._generators()[0].choice(range(count - size, count))][2]
            source = controller.get_trial(source_id)
            if source is not None and self._members[source_id].was_good:
                self._exploit(controller, trial, source)

    def _perturb_all(self, controller: ControllerView, time: float) -> None:
        """Perturb all trials, the best quantile first, if all have come to the interval's end."""
        members = self._members
        if not members or any(m.train_time < self._next_sync for m in members.values()):
            return
        others = len(self._ranked) - self._quantile_size()
        for _, _, trial_id in self._ranked[others:] + self._ranked[:others]:
            members[trial_id].perturbed_at = time
            trial = controller.get_trial(trial_id)
            if trial is not None:
                self._perturb(controller, trial)
        furthest = max(member.train_time for member in members.values())
        self._next_sync = max(self._next_sync + self._interval, furthest)
        if all(member.train_time >= self._next_sync for member in members.values()):
            # Results lie further apart than the interval is long.
            self._next_sync = furthest + self._interval

    def _exploit(self, controller: ControllerView, trial: Trial, source: Trial) -> None:
        """Replace a trial by a copy of another one with changed hyperparameters."""
        copied = self._members[source.trial_id]
        if source.newest_checkpoint is None:
            if copied.perturbations > 2 and not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "%s cannot copy %s to %s: it has no checkpoint, though it is among the best. "
                    "Trials that never save a checkpoint only run on; save one with each report.",
                    type(self).__name__,
                    source,
                    trial,
                )
            return
        config = self._new_config(trial, source)
        tag = perturbed_tag(trial.experiment_tag, config, self._mutations)
        if not controller.restore_trial_from(trial, source, config=config, experiment_tag=tag):
            return
        _logger.info("%s goes on from %s with %s", trial, source, in_words(config, repr))
        self._num_perturbations += 1
        member = self._members[trial.trial_id]
        member.perturbed_at = copied.perturbed_at
        member.train_time = copied.train_time

    def _observe(self, trial: Trial, time: float, score: float) -> None:
        """Learn from a trial at the end of an interval; subclasses may override this method."""

    def _new_config(self, trial: Trial, source: Trial) -> dict[str, Any]:
        """Return the configuration with which a trial continues as a copy of another one.

        Raises:
            TuneError: If `custom_explore_fn` does not return a dict.
        """
        config = explore(
            source.config,
            self._mutations,
            self._resample_probability,
            self._factors,
            *self._generators(),
        )
        return self._customized(config)

    def _customized(self, config: dict[str, Any]) -> dict[str, Any]:
        if self._custom_explore is None:
            return config
        own = self._custom_explore(config)
        if not isinstance(own, Mapping):
            raise TuneError(
                f"`custom_explore_fn` returned {in_words(own, repr)}; it has to return the "
                "configuration to go on with."
            )
        return dict(own)

    def _generators(self) -> tuple[random.Random, np.random.RandomState]:
        """Return the scheduler's own random generators, whose states are restored on a resume.

        Without a seed they begin with the states of Python's and numpy's global generators.
        """
        if self._dice is None or self._stream is None:
            self._dice = random.Random(self._seed)
            self._stream = np.random.RandomState(self._seed)
            if self._seed is None:
                self._dice.setstate(random.getstate())
                random.random()  # another scheduler does not draw the same
                self._stream.set_state(np.random.get_state())
                np.random.random_sample()
        return self._dice, self._stream

    def _refuse_incomplete(self, trial: Trial, result: dict[str, Any]) -> None:
        if not self._require_attrs or result.get("done"):
            self._tell_without_time(trial, result)
            return
        names = [n for n in (self._time_attr, str(self._metric)) if result.get(n) is None]
        raise TuneError(
            f"Trial {trial} reported a result without {' and '.join(map(repr, names))}, by which "
            f"{type(self).__name__} compares trials. Report it each time, or set "
            "`require_attrs=False` to pass such results over."
        )


def _reject_searchers(scheduler: object, search_alg: Any) -> None:
    """Raise an error if a searcher is used; random and grid search are allowed.

    Raises:
        InvalidArgument: If `search_alg` is a searcher.
    """
    searcher = getattr(search_alg, "searcher", search_alg)
    named = isinstance(searcher, str) and searcher not in ("random", "variant_generator")
    if named or hasattr(searcher, "suggest"):
        name = type(scheduler).__name__
        raise InvalidArgument(
            "search_alg",
            f"{searcher if named else type(searcher).__name__} cannot be used with {name}, which "
            "changes configurations while trials run.",
            "Leave it out; the first configurations are drawn from `param_space`.",
        )
