"""`SearcherWrapper`: the base class of searchers that wrap another searcher."""

from __future__ import annotations

import inspect
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.searcher import Metric, Mode, Searcher


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
