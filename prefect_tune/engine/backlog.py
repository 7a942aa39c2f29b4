"""Results that were acknowledged but did not get into the result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.worker import Backlog


class _Seen:
    """One trial: how many results have gone by, and how many each logger has written."""

    __slots__ = ("count", "written")

    def __init__(self, count: int, written: list[int | None]) -> None:
        self.count = count
        self.written = written


class BacklogFinder:
    """Compares the results of a replay with what each logger has written of them.

    A logger writes the results of a trial in order and appends only, so those that are missing are
    the last ones.

    Args:
        callbacks: All callbacks; those that are loggers and count their results are looked at.
        before: How many results of each trial came before the replay; they have been written.
    """

    def __init__(
        self, callbacks: Sequence[Callback], before: Mapping[str, int] | None = None
    ) -> None:
        self._before = {} if before is None else before
        self._loggers = [
            callback
            for callback in callbacks
            if isinstance(callback, LoggerCallback)
            and type(callback).count_results is not LoggerCallback.count_results
        ]
        self._seen: dict[str, _Seen] = {}
        self._found: dict[tuple[int, str], Backlog] = {}

    def see(self, trial: Trial, result: dict[str, Any]) -> None:
        """Take the next acknowledged result of a trial."""
        seen = self._seen.get(trial.trial_id)
        if seen is None:
            written = [logger.count_results(trial) for logger in self._loggers]
            count = self._before.get(trial.trial_id, 0)
            seen = self._seen[trial.trial_id] = _Seen(count, written)
        seen.count += 1
        for index, written_count in enumerate(seen.written):
            if written_count is not None and seen.count > written_count:
                key = (index, trial.trial_id)
                if key not in self._found:
                    self._found[key] = Backlog(self._loggers[index], trial)
                self._found[key].results.append(result)

    def found(self) -> list[Backlog]:
        """What is missing."""
        return list(self._found.values())
