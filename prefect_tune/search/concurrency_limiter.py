"""`ConcurrencyLimiter`: limit the number of unfinished trials of a searcher."""

from __future__ import annotations

from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import Metric, Mode, Searcher
from prefect_tune.search.wrapper import SearcherWrapper


class ConcurrencyLimiter(SearcherWrapper):
    """Wraps a searcher that suggests nothing while ``max_concurrent`` trials are unfinished.

    Args:
        searcher: The searcher to limit.
        max_concurrent: The limit, >= 1.
        batch: Pass results to the searcher only when all ``max_concurrent`` trials of a batch have
            ended, and then ask for the next batch.
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int):
            raise InvalidArgument("max_concurrent", f"must be an int, got {max_concurrent!r}.")
        if max_concurrent < 1:
            raise InvalidArgument("max_concurrent", f"must be >= 1, got {max_concurrent}.")
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
