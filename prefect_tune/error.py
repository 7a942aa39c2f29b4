"""Errors a user of the package can meet.

Every error that stems from the user's input derives from `ValueError` or `TypeError` as well as
from `TuneError`, so that both ``except TuneError`` and ``except ValueError`` work.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def did_you_mean(wrong: object, known: Iterable[str]) -> str:
    """A hint for an error about a name that there is not: "Did you mean `lr`?"; else "".

    Args:
        wrong: The name.
        known: The names there are; private ones are not proposed.
    """
    public = [name for name in known if name[:1] != "_"]
    nearest = difflib.get_close_matches(str(wrong), public, n=1)
    return f"Did you mean `{nearest[0]}`?" if nearest else ""


class TuneError(Exception):
    """Base class of every error raised by prefect_tune."""


class InvalidArgument(TuneError, ValueError):
    """An argument has a value that cannot work; raised before any trial starts.

    Args:
        argument: Name of the argument as the user wrote it, e.g. ``num_samples``.
        problem: What is wrong with the given value.
        hint: What would be right.

    With `argument` alone that is the message: so Prefect makes the error of a flow run again.
    """

    def __init__(self, argument: str, problem: str = "", hint: str = "") -> None:
        self.argument = argument
        self.problem = problem
        self.hint = hint
        message = f"`{argument}`: {problem}" if problem else argument
        super().__init__(message + (f" {hint}" if hint else ""))

    def renamed(self, old: str, new: str) -> InvalidArgument:
        """The same error for a call that has another name for the argument."""
        if not self.argument.startswith(old):
            return self
        return type(self)(self.argument.replace(old, new, 1), self.problem, self.hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.argument, self.problem, self.hint))


class InvalidTrainable(InvalidArgument, TypeError):
    """The trainable cannot be run as given (signature, pickling, import)."""


class ClusterError(TuneError):
    """The Dask cluster cannot be reached or does not fit this program."""


class InsufficientResources(ClusterError, ValueError):
    """A trial asks for more than any single node of the cluster has."""


class PrefectUnavailable(TuneError):
    """A Prefect API was configured but does not answer, or does not let us in."""


class StorageError(TuneError):
    """The experiment directory cannot be created, written or read."""


class ExperimentNotFound(StorageError, ValueError):
    """There is no experiment in this place."""


class ExperimentLocked(StorageError):
    """Another process is running an experiment in the same directory."""


class StorageUnavailable(StorageError):
    """The storage did not answer in time, again and again; what was to be done may work later."""


class CheckpointUnreadable(StorageError):
    """A checkpoint is incomplete or damaged; trying again will not help."""


class NoResults(TuneError, RuntimeError):
    """Results are asked for before there are any."""


class MissingMetric(TuneError, ValueError):
    """A trial reported a result without the metric that the experiment optimises."""


class TrialFailed(TuneError):
    """One or more trials did not end well.

    Args:
        message: Summary.
        trials: The trials that did not complete.
    """

    def __init__(self, message: str, trials: list[Any] | None = None) -> None:
        self.trials = trials or []
        super().__init__(message, self.trials)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.trials))


class ExperimentInterrupted(KeyboardInterrupt):
    """A sweep was ended before its end: by Ctrl-C, a signal, or because its flow run was ended.

    A `KeyboardInterrupt` and no `TuneError`: it is no failure that `except Exception` should
    swallow, or that Prefect should retry.

    Args:
        message: What has ended it, and how to go on with it.
        analysis: The results so far, an `ExperimentAnalysis`.
    """

    def __init__(self, message: str, analysis: Any = None) -> None:
        self.analysis = analysis
        super().__init__(message, analysis)

    def __str__(self) -> str:
        return str(self.args[0])
