"""The progress of an experiment: counts of trials, running ones and the best so far."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, NamedTuple

from typing_extensions import override

from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.nested import flatten
from prefect_tune.reporters.base import ProgressReporter

_ORDER = (RUNNING, PAUSED, PENDING, TERMINATED, ERROR)


class Best(NamedTuple):
    """The best trial so far and the value it is ranked by (its last one)."""

    trial: Trial
    value: float


class SweepProgress:
    """Keeps count of trials and the best one.

    The time of an update depends on the unfinished and the failed trials only.

    Args:
        metric: The metric that ranks trials, the first one of several; None ranks none.
        mode: ``min`` or ``max``; without one no trial is the best.
        total: Number of trials in all, None if not known.

    Attributes:
        total: As above; at least the number of trials there are, as samples may be added.
        live: Trials that are not finished, in order of creation.
        finished: Finished trials, in the order in which `update` found them finished.
        errors: The finished trials that failed.
    """

    def __init__(
        self, metric: str | None = None, mode: str | None = None, total: int | None = None
    ) -> None:
        self.metric = metric if metric is None or isinstance(metric, str) else next(iter(metric))
        self.mode = mode if mode is None or isinstance(mode, str) else next(iter(mode))
        self.set_total(total)
        self.live: list[Trial] = []
        self.finished: list[Trial] = []
        self.errors: list[Trial] = []
        self._seen = 0
        self._best_finished: Best | None = None

    def set_total(self, total: int | None) -> None:
        """Set the number of trials in all, None if not known."""
        # An endless search passes the largest integer.
        self.total = total if total is not None and total < sys.maxsize else None

    def update(self, trials: list[Trial]) -> None:
        """Update the counts from the list of all trials, which only grows."""
        self.live += trials[self._seen :]
        self._seen = len(trials)
        if self.total is not None:
            self.total = max(self.total, self._seen)
        # A resume may have failed trials begin again.
        again = [trial for trial in self.errors if trial.status != ERROR]
        if again:
            self.live += again
            self.errors = [trial for trial in self.errors if trial.status == ERROR]
            self.finished = [trial for trial in self.finished if trial not in again]
        if not any(trial.is_finished() for trial in self.live):
            return
        ended = [trial for trial in self.live if trial.is_finished()]
        self.live = [trial for trial in self.live if not trial.is_finished()]
        self.finished += ended
        self.errors += [trial for trial in ended if trial.status == ERROR]
        for trial in ended:
            self._best_finished = self._better(self._best_finished, trial)

    def counts(self) -> dict[str, int]:
        """Return the number of trials of each status that has any."""
        counts = dict.fromkeys(_ORDER, 0)
        for trial in self.live:
            counts[trial.status] += 1
        counts[ERROR] += len(self.errors)
        counts[TERMINATED] += len(self.finished) - len(self.errors)
        return {status: number for status, number in counts.items() if number}

    def describe_counts(self) -> str:
        """Return the counts as text: ``12/40 (4 RUNNING, 8 TERMINATED)`` if 12 trials exist."""
        by_status = ", ".join(f"{number} {status}" for status, number in self.counts().items())
        total = "" if self.total is None else f"/{self.total}"
        return f"{self._seen}{total}" + (f" ({by_status})" if by_status else "")

    @property
    def best(self) -> Best | None:
        """The best trial so far; None without a metric, a mode or a number to rank by."""
        if self.mode is None:
            return None
        best = self._best_finished
        for trial in self.live:
            if trial.status != PENDING:
                best = self._better(best, trial)
        return best

    def value(self, trial: Trial) -> float | None:
        """Return the value that a trial is ranked by; None if it is missing or NaN."""
        if self.metric is None:
            return None
        value = number_of(flatten(trial.last_result).get(self.metric))
        return None if value is None or math.isnan(value) else value

    def ranked(self, trials: list[Trial]) -> list[Trial]:
        """Sort trials, the best first; those without a value come last in their old order.

        Without a mode the largest values come first.
        """
        sign = 1.0 if self.mode == "min" else -1.0

        def key(trial: Trial) -> tuple[bool, float]:
            value = self.value(trial)
            return (value is None, 0.0 if value is None else sign * value)

        return sorted(trials, key=key)

    def remaining_s(self, elapsed: float) -> float | None:
        """Estimate the seconds to the end from the pace so far; None if that is not possible."""
        if self.total is None or not self.finished:
            return None
        return elapsed / len(self.finished) * max(0, self.total - len(self.finished))

    def _better(self, best: Best | None, trial: Trial) -> Best | None:
        value = self.value(trial)
        if value is None:
            return best
        if best is None or (value > best.value if self.mode == "max" else value < best.value):
            return Best(trial, value)
        return best


class SweepReporter(ProgressReporter):
    """Base class of reporters that show the progress of a sweep since its start.

    Args:
        verbose: How much is shown, 1 to 3.
    """

    def __init__(self, verbose: int = 2) -> None:
        self._verbose = verbose
        self._progress = SweepProgress()
        self._start = time.time()

    @override
    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._start = time.time() if start_time is None else start_time
        self._progress = SweepProgress(metric, mode, total_samples)
