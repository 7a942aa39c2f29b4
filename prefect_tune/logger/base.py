"""Base class of loggers: callbacks that write down the results of trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typing_extensions import override

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial


class LoggerCallback(Callback):
    """A callback that logs trials; override the `log_trial_*` methods that you need.

    Loggers run in a thread of their own, behind the decisions: when a hook is called, the `trial`
    may already be further on than the result it is about. `iteration` counts the rounds of the
    experiment's loop.

    Attributes:
        own_thread: True gives the logger a thread for itself, so that it cannot slow the others. If
            even that is too slow, intermediate results are left out for it (with a warning).
    """

    own_thread: ClassVar[bool] = False

    def log_trial_start(self, trial: Trial) -> None:
        """An attempt of the trial has started; called again at each retry."""

    def log_trial_restore(self, trial: Trial) -> None:
        """The trial has gone on from a checkpoint."""

    def log_trial_save(self, trial: Trial) -> None:
        """A checkpoint of the trial is being written."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """The trial has reported; `result` is a copy, complete with the auto-filled metrics."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """The trial has ended for good; `failed` says how."""

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Sequence[dict[str, Any]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """The trial has reported several times; by default each result is logged by itself.

        Args:
            iteration: Round of the experiment's loop.
            trial: The trial.
            results: Consecutive results of one attempt, not copied.
            lines: The same results as JSON texts, as the trial wrote them (without what is the same
                for all results of an attempt, such as `config`); empty if not known.
        """
        for result in results:
            self.log_trial_result(iteration, trial, dict(result))

    def count_results(self, trial: Trial) -> int | None:
        """Return how many results of a trial have been written by earlier processes.

        Asked when an interrupted experiment is resumed, before anything is logged: results that got
        lost with the process are then logged again.

        Returns:
            The number; None, the default, to be given no results of the past.
        """
        return None

    def keep_results(self, trial: Trial, count: int) -> None:
        """Forget all results of a trial but the first `count`.

        Called when an interrupted experiment is resumed, if `count_results` says that there are
        more than the journal knows: a copy in storage may have been ahead of it when the machine
        was lost. The trial reports them again.
        """

    def flush(self) -> None:
        """Write out what is buffered; called about once a second and at the end."""

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


class BatchLoggerCallback(LoggerCallback):
    """A logger that writes several results at a time; override `log_trial_results`."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Write one result, at once: whoever calls this need not call `flush`."""
        self.log_trial_results(iteration, trial, (result,))
        self.flush()


_BATCHES: dict[type, bool] = {}


def takes_batches(logger: LoggerCallback) -> bool:
    """Return True if a logger is to be given several results by `log_trial_results`.

    False if a subclass has overridden one of the methods for single results, which is where users
    change what is logged.
    """
    kind = type(logger)
    if kind not in _BATCHES:  # it is asked for each record
        _BATCHES[kind] = _takes_batches(kind)
    return _BATCHES[kind]


def _takes_batches(kind: type[LoggerCallback]) -> bool:
    if kind.on_trial_result is not LoggerCallback.on_trial_result:
        return False
    for base in kind.__mro__:
        if "log_trial_results" in vars(base):
            return True
        if "log_trial_result" in vars(base):
            return False
    return False
