"""Base classes of progress reporters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prefect_tune.experiment.trial import Trial


class ProgressReporter(ABC):
    """Base class of objects that show the user the progress of an experiment.

    The engine calls `should_report` after each round of its loop, which may be thousands of times a
    second, so the method must be cheap. If it returns True, the engine calls `report`.

    Any class with the three methods counts as a subclass.
    """

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        methods = ("setup", "should_report", "report")
        if cls is ProgressReporter and all(hasattr(other, method) for method in methods):
            return True
        return NotImplemented

    def setup(  # noqa: B027 - nothing to do is a fine default
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set the reporter up; called before the first trial.

        Args:
            start_time: When the experiment started, in seconds since the epoch.
            total_samples: Number of trials in all; None or a huge number if not known.
            metric: The metric that is optimised, None if none was named.
            mode: ``min`` or ``max``.
            kwargs: Further arguments, which later versions may pass.
        """

    @abstractmethod
    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Return True if it is time to report again.

        Args:
            trials: All trials, in order of creation.
            done: True if the experiment is over: there will be no later report.
        """

    @abstractmethod
    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Show the present state of the experiment.

        Args:
            trials: All trials, in order of creation.
            done: True if this is the last report.
            sys_info: Lines about the cluster, such as the resources in use.
        """


class RemoteReporterMixin:
    """Mixin for reporters that send their output through a queue; subclasses override `display`.

    A sweep calls its reporter in the process that has called `run` or `Tuner.fit` and sets no
    queue: `output_queue` is None unless the user sets it.
    """

    #: The queue to put output into; None to show it in this process.
    output_queue: Any = None

    def display(self, string: str) -> None:
        """Show a text.

        Raises:
            NotImplementedError: If the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to display a text.")
