"""Ray Tune's classes between searcher and engine, accepted for compatibility.

This package uses `TrialSource` instead. Scripts that wrap their searcher in a `SearchGenerator`
work; the wrapping has no effect.
"""

from __future__ import annotations

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import Metric, Searcher


class SearchAlgorithm:
    """Base class of `SearchGenerator`. Algorithms of your own derive from `Searcher`."""

    @property
    def metric(self) -> Metric:
        """The result key to optimise."""
        return None


class SearchGenerator(SearchAlgorithm):
    """Marks a searcher as a complete search algorithm.

    Args:
        searcher: The searcher.
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise InvalidArgument("searcher", f"must be a Searcher, got {searcher!r:.200}.")
        self.searcher = searcher

    @property
    def metric(self) -> Metric:
        """The searcher's metric."""
        return self.searcher.metric
