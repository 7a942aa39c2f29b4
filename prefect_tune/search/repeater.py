"""`Repeater`: run each suggested config several times and report the mean."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import DEFAULT_METRIC, Searcher, metric_values
from prefect_tune.search.wrapper import SearcherWrapper

#: The key of a config that has the number of the repetition, from 0.
TRIAL_INDEX = "__trial_index__"


@dataclass
class _Group:
    """The repetitions of one suggestion.

    Attributes:
        first: Id of the first trial, under which the wrapped searcher knows the suggestion.
        config: The suggestion.
        started: How many repetitions were suggested.
        outcomes: The metric values of those that ended; None for a failed one.
    """

    first: str
    config: dict[str, Any]
    started: int = 0
    outcomes: list[list[float] | None] = field(default_factory=list)


class Repeater(SearcherWrapper):
    """Repeats each suggestion, for objectives that are noisy.

    The wrapped searcher sees one trial per group, with the mean of the metric over the
    repetitions that gave one. ``num_samples`` counts repetitions.

    Args:
        searcher: Makes the suggestions. To limit concurrency, wrap the repeater.
        repeat: How many times each config is run, >= 1.
        set_index: Put the number of the repetition into the config as ``__trial_index__``.
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
            raise InvalidArgument("repeat", f"must be an int >= 1, got {repeat!r}.")
        super().__init__(searcher)
        self.repeat = repeat
        self._set_index = set_index
        self._groups: dict[str, _Group] = {}
        self._current: _Group | None = None

    @property
    def wants_results(self) -> bool:
        """True only if a subclass overrides `on_trial_result`; the mean needs last results only."""
        return type(self).on_trial_result is not Repeater.on_trial_result

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the current config, or a new one if all its repetitions were started."""
        if self._current is None:
            suggestion = self.searcher.suggest(trial_id)
            if not isinstance(suggestion, dict):
                return suggestion
            self._current = _Group(trial_id, suggestion)
        group = self._current
        self._groups[trial_id] = group
        config = copy.deepcopy(group.config)
        if self._set_index:
            config[TRIAL_INDEX] = group.started
        group.started += 1
        if group.started == self.repeat:
            self._current = None
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing; the searcher gets the mean of the last results."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report the mean to the wrapped searcher if the last repetition has ended."""
        group = self._groups.pop(trial_id, None)
        if group is None:
            return
        group.outcomes.append(None if error else metric_values(result, self.metric))
        if len(group.outcomes) < self.repeat:
            return
        means = _means([outcome for outcome in group.outcomes if outcome is not None])
        names = self.metric if isinstance(self.metric, list) else [self.metric or DEFAULT_METRIC]
        if means is None:
            self.searcher.on_trial_complete(group.first, error=True)
        else:
            last = dict(zip(names, means, strict=True))
            self.searcher.on_trial_complete(group.first, result=last)


def _means(outcomes: list[list[float]]) -> list[float] | None:
    """Return the means of the columns without NaN; None if a column has only NaN."""
    columns = [[v for v in column if not math.isnan(v)] for column in zip(*outcomes, strict=True)]
    if not columns or not all(columns):
        return None
    return [sum(column) / len(column) for column in columns]
