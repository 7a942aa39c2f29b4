"""Searchers that wrap another one: to limit the trials at a time, or to repeat each of them."""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.searcher import DEFAULT_METRIC, Metric, Mode, Searcher, metric_values
from prefect_tune.validation import check_count


class SearcherWrapper(Searcher):
    """Base class of searchers that pass calls on to another searcher.

    Args:
        searcher: The searcher to wrap.
    """

    def __init__(self, searcher: Searcher) -> None:
        if isinstance(searcher, BasicVariantGenerator):
            raise InvalidArgument(
                "searcher",
                f"a {type(self).__name__} cannot wrap a BasicVariantGenerator.",
                "Use BasicVariantGenerator(max_concurrent=...) or num_samples instead.",
            )
        if not isinstance(searcher, Searcher):
            raise InvalidArgument("searcher", f"must be a Searcher, got {searcher!r:.200}.")
        super().__init__()
        self.searcher = searcher

    @property
    def metric(self) -> Metric:
        """The wrapped searcher's metric."""
        return self.searcher.metric

    @property
    def mode(self) -> Mode:
        """The wrapped searcher's mode."""
        return self.searcher.mode

    @property
    def wants_results(self) -> bool:
        """Whether the wrapped searcher, or a subclass of this, uses intermediate results."""
        listens = type(self).on_trial_result is not SearcherWrapper.on_trial_result
        return listens or self.searcher.wants_results

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Offer the experiment's metric, mode and space to the wrapped searcher."""
        return offer_properties(self.searcher, metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a suggestion of the wrapped searcher."""
        return self.searcher.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a result to the wrapped searcher."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial to the wrapped searcher."""
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def on_pause(self, trial_id: str) -> None:
        """Pass a pause to the wrapped searcher."""
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass the end of a pause to the wrapped searcher."""
        self.searcher.on_unpause(trial_id)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Pass an evaluated config to the wrapped searcher."""
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def saved_as(self) -> tuple[str, str | None]:
        """Return the names of both, and the library of the wrapped one."""
        name, library = self.searcher.saved_as()
        return f"{type(self).__name__}({name})", library

    def get_state(self) -> dict[str, Any]:
        """Return the states of the wrapper and the wrapped searcher."""
        state = super().get_state()
        del state["searcher"]
        return {"wrapper": state, "searcher": self.searcher.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the wrapper and the wrapped searcher from a state of `get_state`."""
        super().set_state(state["wrapper"])
        self.searcher.set_state(state["searcher"])


def offer_properties(
    searcher: Searcher, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
) -> bool:
    """Call `set_search_properties`, without ``**spec`` for searchers that do not accept it."""
    parameters = inspect.signature(searcher.set_search_properties).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        spec = {}
    return bool(searcher.set_search_properties(metric, mode, config, **spec))


class ConcurrencyLimiter(SearcherWrapper):
    """Wraps a searcher that suggests nothing while ``max_concurrent`` trials are unfinished.

    Args:
        searcher: The searcher to limit.
        max_concurrent: The limit, >= 1.
        batch: Pass results to the searcher only when all ``max_concurrent`` trials of a batch have
            ended, and then ask for the next batch.
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        check_count("max_concurrent", max_concurrent, at_least=1)
        super().__init__(searcher)
        self.max_concurrent = max_concurrent
        # A searcher that limits itself may want the ends of trials one by one, and ask for more.
        own = not isinstance(searcher, ConcurrencyLimiter)
        self._limits = not (own and searcher.set_max_concurrency(max_concurrent))
        self.batch = batch
        self.live_trials: set[str] = set()
        self._withheld: dict[str, tuple[dict[str, Any] | None, bool]] = {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Check that a limit is the same as this limiter's.

        Raises:
            InvalidArgument: ``max_concurrent`` is different.
        """
        if max_concurrent != self.max_concurrent:
            raise InvalidArgument(
                "max_concurrent_trials",
                f"is {max_concurrent}, but the ConcurrencyLimiter has {self.max_concurrent}.",
                "Give only one of the two.",
            )
        return True

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Forget earlier trials, and offer the arguments to the wrapped searcher."""
        self.live_trials.clear()
        self._withheld.clear()
        return super().set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a suggestion of the wrapped searcher; None at the limit."""
        if self._limits and len(self.live_trials) >= self.max_concurrent:
            return None
        suggestion = self.searcher.suggest(trial_id)
        if suggestion is not None and suggestion != Searcher.FINISHED:
            self.live_trials.add(trial_id)
        return suggestion

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial to the wrapped searcher, in batch mode after the whole batch."""
        if trial_id not in self.live_trials:
            return
        self._withheld[trial_id] = (result, error)
        # The last batch of an experiment may be smaller: it is complete when nothing runs.
        if self._limits and self.batch and len(self._withheld) < len(self.live_trials):
            return
        for finished, (last_result, failed) in self._withheld.items():
            self.live_trials.discard(finished)
            self.searcher.on_trial_complete(finished, result=last_result, error=failed)
        self._withheld.clear()


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
        check_count("repeat", repeat, at_least=1)
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
