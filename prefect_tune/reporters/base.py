"""Base class of progress reporters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prefect_tune.experiment.trial import Trial


class ProgressReporter(ABC):
    """Shows a person how the experiment goes.

    The engine asks `should_report` after each round of its loop, which may be thousands of times a
    second: it must be cheap. `report` is called when it returned True.

    A class with these three methods is one without being derived from it.
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
        """Before the first trial.

        Args:
            start_time: When the experiment started, seconds since the epoch.
            total_samples: Number of trials there will be; None or a huge number if not known.
            metric: The metric that is optimised, None if none was named.
            mode: ``min`` or ``max``.
            kwargs: Reserved for later additions.
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
        """Report.

        Args:
            trials: All trials, in order of creation.
            done: True if this is the last report.
            sys_info: Lines about the cluster, such as the resources in use.
        """
