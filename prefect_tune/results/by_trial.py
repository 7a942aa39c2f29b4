"""Things that belong to trials, to be found by directory or by id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from prefect_tune.experiment.trial import Trial

V = TypeVar("V")


class ByTrial(dict[str, V]):
    """A dictionary by trial directory in which a trial's id finds its entry, too.

    Ray Tune 1 and 2.0 name trials by their directories here, later versions by their ids.

    Args:
        entries: Trials and what belongs to them.
    """

    def __init__(self, entries: Iterable[tuple[Trial, V]]) -> None:
        self._directories: dict[str, str] = {}
        super().__init__()
        for trial, value in entries:
            self[trial.logdir] = value
            self._directories[trial.trial_id] = trial.logdir

    def __missing__(self, key: str) -> V:
        if key not in self._directories:
            raise KeyError(key)
        return self[self._directories[key]]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._directories

    def get(self, key: str, default: Any = None) -> Any:
        """The entry of a trial; `default` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default
