"""Base classes of loggers, the callbacks that write the results of trials to files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typing_extensions import override

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial


class LoggerCallback(Callback):
    """A callback that logs trials; override the `log_trial_*` methods that you need.

    Loggers run in threads of their own, so that they do not delay decisions: when a hook is called,
    `trial` may already have newer results than the hook's. `iteration` counts the rounds of the
    experiment's loop.

    Attributes:
        own_thread: True gives the logger a thread for itself, so that it cannot slow the others. If
            it cannot keep up even so, it gets only some of the results, with a warning.
    """

    own_thread: ClassVar[bool] = False

    def log_trial_start(self, trial: Trial) -> None:
        """Log that an attempt of the trial has started; called again at each retry."""

    def log_trial_restore(self, trial: Trial) -> None:
        """Log that the trial continues from a checkpoint."""

    def log_trial_save(self, trial: Trial) -> None:
        """Log that a checkpoint of the trial is being written."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log a result; `result` is a copy and contains the auto-filled metrics."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Log that the trial has ended and will not be retried; `failed` is True on an error."""

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Sequence[dict[str, Any]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """Log several results of a trial; by default `log_trial_result` is called for each.

        Args:
            iteration: Round of the experiment's loop.
            trial: The trial.
            results: Consecutive results of one attempt, not copied.
            lines: The same results as the lines of JSON that the trial sent, without values that
                are the same for all results of an attempt, such as `config`; may be empty.
        """
        for result in results:
            self.log_trial_result(iteration, trial, dict(result))

    def count_results(self, trial: Trial) -> int | None:
        """Return how many results of a trial were written by earlier processes.

        Called when an interrupted experiment is resumed, before anything is logged: results that
        were lost with the process are then logged again.

        Returns:
            The number; None, the default, to get no results of earlier processes.
        """
        return None

    def keep_results(self, trial: Trial, count: int) -> None:
        """Delete all results of a trial except the first `count`.

        Called when an interrupted experiment is resumed, if `count_results` is greater than the
        number of results in the journal: files in storage may have been newer than the journal
        there when the machine was lost. The trial reports the deleted results again.
        """

    def flush(self) -> None:
        """Write buffered data to files; called about once a second and at the end."""

    @override
    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.log_trial_start(trial)

    @override
    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.log_trial_restore(trial)

    @override
    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.log_trial_save(trial)

    @override
    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self.log_trial_result(iteration, trial, result)

    @override
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.log_trial_end(trial, failed=False)

    @override
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.log_trial_end(trial, failed=True)


_ACCEPTING: dict[type, bool] = {}


def accepts_batches(logger: LoggerCallback) -> bool:
    """Return True if a logger gets its results by `log_trial_results`.

    False if a subclass overrides a method for single results, so that the override has an effect.
    """
    kind = type(logger)
    if kind not in _ACCEPTING:  # cached, since this is called for each record
        _ACCEPTING[kind] = _accepts_batches(kind)
    return _ACCEPTING[kind]


def _accepts_batches(kind: type[LoggerCallback]) -> bool:
    if kind.on_trial_result is not LoggerCallback.on_trial_result:
        return False
    for base in kind.__mro__:
        if "log_trial_results" in vars(base):
            return True
        if "log_trial_result" in vars(base):
            return False
    return False
