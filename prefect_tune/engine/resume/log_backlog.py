"""Finds results that the journal has and the result files lack, and cuts off the reverse."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.threads import Backlog

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _LoggingProgress:
    """How many results of a trial were replayed, and how many each logger has written."""

    count: int
    written: list[int | None]


class BacklogFinder:
    """Compares the results of a replay with the number that each logger has written.

    A logger appends the results of a trial in order, so missing results are always the last ones.

    Args:
        callbacks: All callbacks; only loggers that can count their written results are compared.
        before: How many results of each trial came before the replay; loggers have written these.
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
        self._progress: dict[str, _LoggingProgress] = {}
        self._backlogs: dict[tuple[int, str], Backlog] = {}

    def add(self, trial: Trial, result: dict[str, Any]) -> None:
        """Compare the next replayed result of a trial."""
        progress = self._progress.get(trial.trial_id)
        if progress is None:
            written = self._count(trial)
            count = self._before.get(trial.trial_id, 0)
            progress = self._progress[trial.trial_id] = _LoggingProgress(count, written)
        progress.count += 1
        for index, written_count in enumerate(progress.written):
            if written_count is not None and progress.count > written_count:
                key = (index, trial.trial_id)
                if key not in self._backlogs:
                    self._backlogs[key] = Backlog(self._loggers[index], trial)
                self._backlogs[key].results.append(result)

    def backlogs(self) -> list[Backlog]:
        """Return the results that loggers lack, by logger and trial."""
        return list(self._backlogs.values())

    def drop_unjournaled_results(self, trials: Iterable[Trial]) -> None:
        """Cut off the results in result files that the journal lacks; call after the replay.

        On one machine the journal is written first. In storage, the copy of a result file may be
        ahead of the journal's copy; if the machine is lost then, these results are reported again.

        Args:
            trials: All trials; those that had ended before the replay are left alone.
        """
        for trial in trials:
            progress = self._progress.get(trial.trial_id)
            if progress is not None:
                written = progress.written
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
