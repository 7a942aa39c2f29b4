"""The exceptions that the package raises to users.

Every error that stems from the user's input derives from `ValueError` or `TypeError` as well as
from `TuneError`, so that both ``except TuneError`` and ``except ValueError`` work.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any


def did_you_mean(wrong: object, known: Iterable[str]) -> str:
    """Return a hint for an error about an unknown name: "Did you mean `lr`?".

    Args:
        wrong: The unknown name.
        known: The known names; private ones are not proposed.

    Returns:
        The hint; "" if no known name is similar.
    """
    public = [name for name in known if name[:1] != "_"]
    nearest = difflib.get_close_matches(str(wrong), public, n=1)
    return f"Did you mean `{nearest[0]}`?" if nearest else ""


class TuneError(Exception):
    """Base class of every error raised by prefect_tune."""


class InvalidArgument(TuneError, ValueError):
    """Raised before any trial starts if an argument has a wrong value.

    Args:
        argument: Name of the argument as the user wrote it, e.g. ``num_samples``.
        problem: What is wrong with the given value.
        hint: What would be right.

    With one argument alone, it is the message: this is how Prefect rebuilds a flow run's error.
    """

    def __init__(self, argument: str, problem: str = "", hint: str = "") -> None:
        self.argument = argument
        self.problem = problem
        self.hint = hint
        message = f"`{argument}`: {problem}" if problem else argument
        super().__init__(message + (f" {hint}" if hint else ""))

    def renamed(self, old: str, new: str) -> InvalidArgument:
        """Return the same error for a call in which the argument has another name."""
        if not self.argument.startswith(old):
            return self
        return type(self)(self.argument.replace(old, new, 1), self.problem, self.hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.argument, self.problem, self.hint))


class InvalidTrainable(InvalidArgument, TypeError):
    """Raised if the trainable cannot be run: its signature, pickling or import is wrong."""


class ClusterError(TuneError):
    """Raised if the Dask cluster cannot be reached, or has other versions than this program."""


class InsufficientResources(ClusterError, ValueError):
    """Raised if a trial asks for more resources than any node of the cluster has."""


class PrefectUnavailable(TuneError):
    """Raised if a Prefect API is configured but does not answer, or refuses access."""


class StorageError(TuneError):
    """Raised if files of an experiment cannot be created, written or read."""


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Raise an `OSError` of the block as a `StorageError`: "cannot write FILE: disk full.".

    Args:
        what: What the block does, such as ``write FILE``.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what}: {error.strerror or error}.") from error


class ExperimentNotFound(StorageError, ValueError):
    """Raised if a directory or URL holds no experiment."""


class ExperimentLocked(StorageError):
    """Raised if another process runs an experiment in the same directory."""


class StorageUnavailable(StorageError):
    """Raised if the storage did not answer in time, after several tries; it may work later."""


class CheckpointUnreadable(StorageError):
    """Raised if a checkpoint is incomplete or damaged, so that another try does not help."""


class NoResults(TuneError, RuntimeError):
    """Raised if results are asked for before there are any."""


class MissingMetric(TuneError, ValueError):
    """Raised if a trial reports a result without the metric that the experiment optimises."""


class TrialFailed(TuneError):
    """Raised at the end of a sweep if trials have failed.

    Args:
        message: A summary of the failures.
        trials: The trials that have failed.
    """

    def __init__(self, message: str, trials: list[Any] | None = None) -> None:
        self.trials = trials or []
        super().__init__(message, self.trials)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.trials))


class TrialWorkerFailed(TuneError):
    """Raised if a function that a trial has started in one of its bundles does not return."""


class ExperimentInterrupted(KeyboardInterrupt):
    """Raised if a sweep was ended early by Ctrl-C, a signal, or the end of its flow run.

    It derives from `KeyboardInterrupt`, not from `TuneError`, so that `except Exception` does not
    catch it and Prefect does not retry the flow run.

    Args:
        message: What has ended the sweep, and how to resume it.
        analysis: The results so far, an `ExperimentAnalysis`.
    """

    def __init__(self, message: str, analysis: Any = None) -> None:
        self.analysis = analysis
        super().__init__(message, analysis)

    def __str__(self) -> str:
        return str(self.args[0])
