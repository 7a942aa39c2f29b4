"""Metrics of results: what user code has reported, and what is added to every result.

Only metrics that change from report to report are added here and sent with each line. Those that
are constant over an attempt (`trial_id`, `experiment_id`, `experiment_tag`, `config` of the launch;
`hostname`, `node_ip`, `pid` from the process's HELLO frame) are merged by the flow process, which
knows them anyway.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress
from prefect_tune.experiment.plain import finite_number
from prefect_tune.result import DEFAULT_METRIC
from prefect_tune.trainable.runtime.attempt import AttemptContext

#: Metrics that are constant over an attempt; values that user code reports for them are dropped.
CONSTANTS = frozenset(
    {"trial_id", "experiment_id", "experiment_tag", "hostname", "node_ip", "pid", "config"}
)
_MISSING = object()


@functools.cache
def node_identity() -> dict[str, str]:
    """Return host name and IP address of this node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only asks the routing table.
            probe.connect(("10.255.255.255", 1))
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    return {"hostname": socket.gethostname(), "node_ip": address}


def constant_metrics(context: AttemptContext | None, config: dict[str, Any]) -> dict[str, Any]:
    """Return the automatic metrics that are the same in all results of an attempt.

    They are not sent with each report; this is for code in the trial that needs the full result.

    Args:
        context: Context of the attempt; None outside a trial.
        config: The trial's configuration.
    """
    return {
        "trial_id": "default" if context is None else context.launch.trial_id,
        "experiment_id": "default" if context is None else context.experiment_id,
        "experiment_tag": "" if context is None else context.experiment_tag,
        "config": config,
        "pid": os.getpid(),
        **node_identity(),
    }


class AutoMetrics:
    """Counts iterations, steps and time of an attempt, and adds them to its reports.

    Args:
        progress: Progress of the trial at the checkpoint that this attempt starts from.
        warmup_time: Seconds from the start of the process to the start of the user's code.

    Attributes:
        since_restore: How many iterations are done in this attempt.
    """

    def __init__(
        self,
        progress: Progress = NO_PROGRESS,
        warmup_time: float = 0.0,
    ) -> None:
        self._warmup_time = warmup_time
        self._second = 0
        self._date = ""
        self.restart(progress)

    def restart(self, progress: Progress) -> None:
        """Continue from a checkpoint's totals; start the counters since the restore at 0."""
        self._iteration = progress.iteration
        self.since_restore = 0
        self._time_before = progress.time_total_s
        self._timesteps_total = progress.timesteps_total
        self._timesteps_since_restore: float = 0
        self._episodes_total = progress.episodes_total
        self._time_since_restore = 0.0
        self._last = time.perf_counter()

    @property
    def progress(self) -> Progress:
        """Iterations, steps and time of the trial so far."""
        return Progress(
            self.iteration,
            self._time_before + self._time_since_restore,
            self._timesteps_total,
            self._episodes_total,
        )

    @property
    def iteration(self) -> int:
        """How many iterations are done, including earlier attempts."""
        return self._iteration + self.since_restore

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._iteration = value - self.since_restore

    def totals(self, time_this_iter: float | None = None) -> dict[str, Any]:
        """Return the counters after the newest result, under their names in results.

        Args:
            time_this_iter: Value of `time_this_iter_s`; None leaves this metric out.
        """
        progress = self.progress
        passed = {} if time_this_iter is None else {"time_this_iter_s": time_this_iter}
        return {
            **passed,
            "done": False,
            "training_iteration": progress.iteration,
            "timesteps_total": progress.timesteps_total,
            "episodes_total": progress.episodes_total,
            "time_total_s": progress.time_total_s,
            "time_since_restore": self._time_since_restore,
            "timesteps_since_restore": self._timesteps_since_restore,
            "iterations_since_restore": self.since_restore,
            "warmup_time": self._warmup_time,
        }

    def complete(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return a full result: the user's metrics, then the automatic ones.

        The user's own `done`, `training_iteration`, `timesteps_total`, `episodes_total`,
        `time_this_iter_s`, `timestamp` and `neg_mean_loss` override the automatic ones. Values that
        are not numbers are kept in the result, but not added to the totals.
        """
        if not CONSTANTS.isdisjoint(metrics):
            metrics = {name: metrics[name] for name in metrics if name not in CONSTANTS}
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(second))
        now = time.perf_counter()
        self.since_restore += 1
        # The user's metrics come first, as in Ray Tune's files: some scripts select a column by
        # its number.
        result = {
            **metrics,
            "done": _done_flag(metrics.get("done", False)),
            "training_iteration": metrics.get("training_iteration", self.iteration),
            "time_this_iter_s": metrics.get("time_this_iter_s", now - self._last),
            "timestamp": metrics.get("timestamp", second),
        }
        spent = finite_number(result["time_this_iter_s"])
        if spent is None:
            spent = now - self._last
        self._last = now
        self._count_steps(result)
        if "mean_loss" in result:
            _negate_mean_loss(result)
        self._time_since_restore += spent
        result["time_total_s"] = self._time_before + self._time_since_restore
        result["time_since_restore"] = self._time_since_restore
        result["iterations_since_restore"] = self.since_restore
        result["timesteps_since_restore"] = self._timesteps_since_restore
        result["date"] = self._date
        result["warmup_time"] = self._warmup_time
        return result

    def _count_steps(self, result: dict[str, Any]) -> None:
        steps = finite_number(result.get("timesteps_this_iter"))
        if steps is not None:
            self._timesteps_total = (self._timesteps_total or 0) + steps
            self._timesteps_since_restore += steps
        episodes = finite_number(result.get("episodes_this_iter"))
        if episodes is not None:
            self._episodes_total = (self._episodes_total or 0) + episodes
        result.setdefault("timesteps_total", self._timesteps_total)
        result.setdefault("episodes_total", self._episodes_total)


def _done_flag(value: Any) -> Any:
    """Return the user's `done` if JSON has a form for it, else its truth value."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return bool(value)
    except Exception:  # an array, or an object of a user's class
        return False


def _negate_mean_loss(result: dict[str, Any]) -> None:
    try:
        negated = -result["mean_loss"]
    except Exception:  # not a number, but an object of a user's class
        return
    result.setdefault("neg_mean_loss", negated)


def as_metrics(value: Any) -> Mapping[str, Any]:
    """Return a value that user code reported, returned or yielded as a dict of metrics.

    Raises:
        InvalidArgument: If `value` is neither a dict nor a number.
    """
    if isinstance(value, Mapping):
        return value
    if is_number(value):
        return {DEFAULT_METRIC: value}
    raise InvalidArgument(
        "metrics",
        f"a result is a dict of metrics or a number, not {type(value).__name__} ({value!r:.80}).",
        "Use e.g. {'loss': 0.1}.",
    )


def is_number(value: Any) -> bool:
    """Return True for numbers and for scalars of array libraries."""
    if isinstance(value, (int, float)):
        return True
    return getattr(value, "shape", None) == () and hasattr(value, "__float__")


def lookup(result: Mapping[str, Any], metric: str) -> Any:
    """Return a metric by its flat name (``a/b`` for nested ones); array scalars become numbers."""
    value = result.get(metric, _MISSING)
    if value is _MISSING:
        value = result
        for part in metric.split("/"):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
    if isinstance(value, (int, float)) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except Exception:  # an array of several values, or an object of a user's class
        return value
