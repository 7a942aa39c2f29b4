"""Loggers of Ray Tune 1: classes of which each trial gets an instance."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from prefect_tune.callback import Callback
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.csv import CSVLoggerCallback
from prefect_tune.logger.json import JsonLoggerCallback
from prefect_tune.logger.tensorboardx import TBXLoggerCallback


class Logger:
    """Base class of loggers of one trial; subclasses override `on_result`, and `_init` for set-up.

    New code should derive from `LoggerCallback`, of which one object serves all trials.

    Args:
        config: Configuration of the trial.
        logdir: The trial's directory.
        trial: The trial; None outside of an experiment.
    """

    def __init__(self, config: dict[str, Any], logdir: str, trial: Trial | None = None) -> None:
        self.config = config
        self.logdir = logdir
        self.trial = trial
        self._init()

    def _init(self) -> None:
        """Set the logger up; called at the end of the constructor."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Log a `result`, which contains the auto-filled metrics."""
        raise NotImplementedError

    def update_config(self, config: dict[str, Any]) -> None:
        """Note a changed configuration; called also when the trial is started again."""

    def flush(self) -> None:
        """Write buffered data to files."""

    def close(self) -> None:
        """Close the logger; called when the trial has ended."""


#: A function that makes a logger for a trial, usually a subclass of `Logger`.
LoggerMaker = Callable[[dict[str, Any], str, Trial], Logger]


class NoopLogger(Logger):
    """Logs nothing."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Do nothing."""


class _FileLogger(Logger):
    """Writes the files of one trial with a logger callback."""

    kind: ClassVar[type[LoggerCallback]]

    def _init(self) -> None:
        parent, name = os.path.split(os.path.abspath(self.logdir))
        self._writer = self.kind()
        self._written = Trial(
            "" if self.trial is None else self.trial.trial_id,
            self.config,
            relative_logdir=name,
            local_experiment_dir=parent,
        )
        self._writer.log_trial_start(self._written)

    def on_result(self, result: dict[str, Any]) -> None:
        """Write one result."""
        self._writer.log_trial_result(0, self._written, result)

    def flush(self) -> None:
        """Write buffered data to the file."""
        self._writer.flush()

    def close(self) -> None:
        """Write all buffered data and close the file."""
        self._writer.log_trial_end(self._written)


class CSVLogger(_FileLogger):
    """Writes `progress.csv`."""

    kind = CSVLoggerCallback


class JsonLogger(_FileLogger):
    """Writes `result.json`, `params.json` and `params.pkl`."""

    kind = JsonLoggerCallback

    def update_config(self, config: dict[str, Any]) -> None:
        """Write the new configuration."""
        self.config = self._written.config = config
        self._writer.log_trial_start(self._written)


class TBXLogger(_FileLogger):
    """Writes TensorBoard event files."""

    kind = TBXLoggerCallback


#: The default loggers of `UnifiedLogger`.
DEFAULT_LOGGERS: tuple[type[Logger], ...] = (JsonLogger, CSVLogger, TBXLogger)


class UnifiedLogger(Logger):
    """Combines several loggers of one trial.

    Args:
        config: Configuration of the trial.
        logdir: The trial's directory.
        trial: The trial; None outside of an experiment.
        loggers: Classes of loggers, or functions that make them; None is `DEFAULT_LOGGERS`.
    """

    def __init__(
        self,
        config: dict[str, Any],
        logdir: str,
        trial: Trial | None = None,
        loggers: Sequence[LoggerMaker] | None = None,
    ) -> None:
        self._makers: Sequence[Callable[..., Logger]] = (
            DEFAULT_LOGGERS if loggers is None else tuple(loggers)
        )
        super().__init__(config, logdir, trial)

    def _init(self) -> None:
        self._loggers = [make(self.config, self.logdir, self.trial) for make in self._makers]

    def on_result(self, result: dict[str, Any]) -> None:
        """Pass a result to all loggers."""
        for logger in self._loggers:
            logger.on_result(result)

    def update_config(self, config: dict[str, Any]) -> None:
        """Pass a changed configuration to all loggers."""
        for logger in self._loggers:
            logger.update_config(config)

    def flush(self) -> None:
        """Flush all loggers."""
        for logger in self._loggers:
            logger.flush()

    def close(self) -> None:
        """Close all loggers."""
        for logger in self._loggers:
            logger.close()


class LegacyLoggerCallback(LoggerCallback):
    """Makes loggers of Ray Tune 1 for each trial, and calls them.

    Args:
        logger_classes: Called with the trial's config, directory and the trial.

    Raises:
        InvalidArgument: If one of the classes cannot be called.
    """

    def __init__(self, logger_classes: Iterable[LoggerMaker]) -> None:
        self.logger_classes = _check_loggers(logger_classes, "logger_classes")
        self._of_trial: dict[str, UnifiedLogger] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Make the trial's loggers; if they exist, pass them the trial's configuration again."""
        loggers = self._of_trial.get(trial.trial_id)
        if loggers is None:
            loggers = UnifiedLogger(trial.config, trial.logdir, trial, self.logger_classes)
            self._of_trial[trial.trial_id] = loggers
        else:
            loggers.update_config(trial.config)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Pass a result to the trial's loggers."""
        if trial.trial_id not in self._of_trial:
            self.log_trial_start(trial)
        self._of_trial[trial.trial_id].on_result(result)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Close the trial's loggers."""
        if trial.trial_id in self._of_trial:
            self._of_trial.pop(trial.trial_id).close()

    def flush(self) -> None:
        """Flush the loggers of all trials."""
        for loggers in self._of_trial.values():
            loggers.flush()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close all open loggers."""
        while self._of_trial:
            self._of_trial.popitem()[1].close()


def replaced_loggers(callback: Callback) -> frozenset[type[LoggerCallback]]:
    """Return the default loggers whose files a callback writes itself."""
    if not isinstance(callback, LegacyLoggerCallback):
        return frozenset()
    made = callback.logger_classes
    classes = [*made, *(DEFAULT_LOGGERS if UnifiedLogger in made else ())]
    return frozenset(
        made.kind for made in classes if isinstance(made, type) and issubclass(made, _FileLogger)
    )


def with_loggers(
    callbacks: Sequence[Callback] | None, loggers: Iterable[LoggerMaker] | None
) -> Sequence[Callback] | None:
    """Add a callback for the loggers in Ray Tune 1's argument `loggers`.

    Args:
        callbacks: The user's callbacks.
        loggers: Classes of loggers; None or an empty list adds nothing.

    Raises:
        InvalidArgument: If `loggers` holds something that cannot be called.
    """
    classes = _check_loggers(loggers or (), "loggers")
    return [*(callbacks or ()), LegacyLoggerCallback(classes)] if classes else callbacks


def _check_loggers(classes: Any, argument: str) -> list[LoggerMaker]:
    if not isinstance(classes, Iterable) or isinstance(classes, str):
        raise InvalidArgument(argument, f"got {classes!r}.", "Give a list of `Logger` classes.")
    found = list(classes)
    for made in found:
        if isinstance(made, Callback) or (isinstance(made, type) and issubclass(made, Callback)):
            raise InvalidArgument(
                argument, f"{made!r} is a callback.", "Give it as `callbacks=[...]`."
            )
        if not callable(made):
            raise InvalidArgument(argument, f"{made!r} cannot be called.", "Give `Logger` classes.")
    return found
