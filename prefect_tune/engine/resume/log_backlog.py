"""Where the result files are behind the journal, or ahead of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.threads import Backlog

_logger = logging.getLogger(__name__)


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
            written = self._count(trial)
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

    def drop_unknown(self, trials: Iterable[Trial]) -> None:
        """Cut off results that the journal does not have; for the end of the replay.

        On one machine the journal is written first. In storage the copy of a result file may be
        ahead of it, and the results of a machine that was lost in between are reported again.

        Args:
            trials: All trials. One that had ended before the replay has nothing to cut off.
        """
        for trial in trials:
            seen = self._seen.get(trial.trial_id)
            if seen is not None:
                written = seen.written
            elif trial.is_finished() or not os.path.isdir(trial.logdir):
                continue
            else:
                written = self._count(trial)
            for logger, count in zip(self._loggers, written, strict=True):
                if count is not None and count > trial.results_seen:
                    _logger.info(
                        "%s: %d results of %s are not in the journal; they are left out.",
                        type(logger).__name__,
                        count - trial.results_seen,
                        trial,
                    )
                    logger.keep_results(trial, trial.results_seen)

    def _count(self, trial: Trial) -> list[int | None]:
        return [logger.count_results(trial) for logger in self._loggers]
