"""Progress for somebody who sits at a debugger's prompt."""

from __future__ import annotations

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.plain import PlainReporter


class DebuggingReporter(PlainReporter):
    """Says when a trial has ended, and nothing in between: that would be typed over.

    Args:
        verbose: As of `PlainReporter`.
    """

    def __init__(self, verbose: int = 2) -> None:
        super().__init__(verbose)
        self._ended = 0

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """True when another trial has ended."""
        ended = sum(trial.is_finished() for trial in trials)
        has_news = ended > self._ended
        self._ended = ended
        return done or has_news
