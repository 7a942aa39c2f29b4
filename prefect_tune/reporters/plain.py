"""`PlainReporter`: print progress as few plain lines, for pipes and log files."""

from __future__ import annotations

import time

from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.nested import flatten
from prefect_tune.reporters.columns import (
    as_cell,
    format_duration,
    format_parameters,
    user_metrics,
)
from prefect_tune.reporters.console import write_text
from prefect_tune.reporters.progress import SweepReporter

_MAX_LINES = 10
_SHORTEST_S = 1.0
_LONGEST_S = 30.0
_SUMMARY_S = 5.0


class PlainReporter(SweepReporter):
    """Prints one line per finished trial, and a one-line summary every few seconds.

    At most ten trials are named at a time, and the time between reports grows with the experiment
    (a thirtieth of its age, 1 s to 30 s), so that a log stays readable: an hour of trials that end
    every millisecond gives some 1,500 lines.

    Args:
        verbose: 1 prints summaries only, 2 names finished trials, 3 also their parameters and all
            their metrics.
    """

    def __init__(self, verbose: int = 2) -> None:
        super().__init__(verbose)
        self._last_report = self._last_summary = 0.0
        self._named = 0

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Return True if enough time has passed since the last report."""
        now = time.time()
        return done or now - self._last_report >= self._interval(now, _SHORTEST_S)

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Print the trials that ended since the last report, and a summary if it is time."""
        now = self._last_report = time.time()
        progress = self._progress
        progress.update(trials)
        lines = self._finished_lines() if self._verbose >= 2 else []
        if done or now - max(self._start, self._last_summary) >= self._interval(now, _SUMMARY_S):
            self._last_summary = now
            lines.append(self._summary(done, sys_info))
        if lines:
            stamp = f"[{format_duration(now - self._start)}] "
            write_text("\n".join(stamp + line for line in lines))

    def _interval(self, now: float, shortest: float) -> float:
        return max(shortest, min(_LONGEST_S, (now - self._start) / 30))

    def _finished_lines(self) -> list[str]:
        new = self._progress.finished[self._named :]
        self._named += len(new)
        # Failed trials are named first, since users look for them.
        named = sorted(new, key=lambda trial: trial.status != ERROR)[:_MAX_LINES]
        lines = [self._trial_line(trial) for trial in new if trial in named]
        if len(new) > len(named):
            lines.append(f"... and {len(new) - len(named)} more trials ended")
        return lines

    def _trial_line(self, trial: Trial) -> str:
        result = flatten(trial.last_result)
        parts = [f"{trial} {trial.status}"]
        if trial.error is not None and trial.status == ERROR:
            parts.append(str(trial.error).splitlines()[0][:200])
        metric = self._progress.metric
        names = [metric] if metric in result else user_metrics([trial], limit=3)
        if self._verbose >= 3:
            names = list(dict.fromkeys([*names, *user_metrics([trial])]))
        parts += [f"{name}={as_cell(result.get(name))}" for name in names]
        if "training_iteration" in result:
            parts.append(f"iter={as_cell(result['training_iteration'])}")
        seconds = finite_number(result.get("time_total_s"))
        if seconds is not None:
            parts.append(f"{seconds:.1f} s")
        if self._verbose >= 3 and trial.evaluated_params:
            parts.append(f"({format_parameters(trial)})")
        return "  ".join(parts)

    def _summary(self, done: bool, sys_info: tuple[str, ...]) -> str:
        progress = self._progress
        parts = [f"{'done, ' if done else ''}trials: {progress.describe_counts()}"]
        best = progress.best
        if best is not None:
            parts.append(f"best {progress.metric}={as_cell(best.value)} ({best.trial})")
        if done:
            trials = progress.finished or progress.live
            if trials and trials[0].local_experiment_dir:
                parts.append(f"results: {trials[0].local_experiment_dir}")
        else:
            parts += sys_info[-1:]  # without the scheduler's lines, which hardly change
            remaining = progress.remaining_s(time.time() - self._start)
            if remaining is not None:
                parts.append(f"about {format_duration(remaining)} to go")
        return "; ".join(parts)


class DebuggingReporter(PlainReporter):
    """Prints a line when a trial ends and nothing else, for use beside a debugger's prompt.

    Args:
        verbose: As for `PlainReporter`.
    """

    def __init__(self, verbose: int = 2) -> None:
        super().__init__(verbose)
        self._ended = 0

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Return True if a trial has ended since the last call."""
        ended = sum(trial.is_finished() for trial in trials)
        has_news = ended > self._ended
        self._ended = ended
        return done or has_news
