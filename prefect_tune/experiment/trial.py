"""`Trial`: the record of one trial, which schedulers, stoppers, callbacks and results read."""

from __future__ import annotations

import math
import os
import pickle
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from itertools import filterfalse
from operator import add, attrgetter
from typing import Any

import cloudpickle

from prefect_tune.error import TuneError
from prefect_tune.experiment.attempt import ERROR_FILE, ERROR_PICKLE_FILE, AttemptError
from prefect_tune.experiment.checkpoints import TrialCheckpoint, newest_usable
from prefect_tune.experiment.plain import number_of
from prefect_tune.resources import PlacementGroupFactory, Resources

PENDING = "PENDING"
RUNNING = "RUNNING"
PAUSED = "PAUSED"
TERMINATED = "TERMINATED"
ERROR = "ERROR"

#: Metrics that the trial process fills in and `metric_analysis` leaves out: statistics of them
#: would cost more than all other work for a result. The filled-in metrics that people rank or plot
#: by are not in this set.
AUTO_FILLED = frozenset(
    (
        "config date done episodes_total experiment_id experiment_tag hostname "
        "iterations_since_restore node_ip pid time_since_restore time_this_iter_s timestamp "
        "timesteps_since_restore timesteps_total trial_id warmup_time"
    ).split()
)
#: All metrics that are filled in.
ALL_AUTO_FILLED = AUTO_FILLED | {"training_iteration", "time_total_s"}
_WINDOW = 10
_LARGEST = 2**63


class MetricStats:
    """Running statistics of one metric: max, min, mean and the last ten values."""

    __slots__ = ("count", "last", "maximum", "minimum", "recent", "total")

    def __init__(self, value: float) -> None:
        self.maximum = self.minimum = self.last = value
        self.total = float(value)  # integers could add up to one that is too large for a float
        self.count = 1
        self.recent = [value]  # a deque would take ten times the memory

    def add(self, value: float) -> None:
        """Add one value. NaN never replaces a maximum or minimum."""
        if value > self.maximum or self.maximum != self.maximum:
            self.maximum = value
        if value < self.minimum or self.minimum != self.minimum:
            self.minimum = value
        self.total += value
        self.last = value
        self.count += 1
        self.recent.append(value)
        if len(self.recent) > _WINDOW:
            del self.recent[0]

    def values(self) -> tuple[Any, ...]:
        """Return the statistics as a tuple, from which `of` makes equal statistics."""
        return self.count, self.last, self.maximum, self.minimum, self.total, tuple(self.recent)

    @classmethod
    def of(cls, values: Sequence[Any]) -> MetricStats:
        """Make statistics from a tuple that `values` has returned."""
        stats = cls(0.0)
        stats.count, stats.last, stats.maximum, stats.minimum, stats.total, recent = values
        stats.recent = list(recent)
        return stats

    @classmethod
    def values_of(cls, numbers: tuple[float, ...]) -> tuple[Any, ...]:
        """Return what `values` returns for statistics to which these numbers were added in turn."""
        last = numbers[-1]
        total = reduce(add, numbers[1:], float(numbers[0]))
        if total - total == 0:
            recent = numbers[-_WINDOW:]
            return len(numbers), last, max(numbers), min(numbers), total, recent
        stats = cls(numbers[0])  # NaN and infinity
        for number in numbers[1:]:
            stats.add(number)
        return stats.values()

    def summary(self) -> dict[str, float]:
        """Return the statistics by Ray Tune's scope names."""
        return {
            "max": self.maximum,
            "min": self.minimum,
            "avg": self.total / self.count,
            "last": self.last,
            "last-5-avg": _mean(self.recent[-5:]),
            "last-10-avg": _mean(self.recent),
        }


@dataclass(frozen=True, slots=True)
class TrialTerms:
    """The arguments of an experiment that users can read from its trials; all trials share one.

    Attributes:
        stopping_criterion: The ``stop`` dict; {} if `stop` is not a dict.
        max_failures: Retries of a failed trial; -1 has no limit.
        checkpoint_freq: Number of iterations between checkpoints; 0 writes none.
        checkpoint_at_end: Whether a trial writes a checkpoint at its end.
        keep_checkpoints_num: How many checkpoints of a trial are retained; None retains all.
        checkpoint_score_attr: The metric that ranks checkpoints, with ``min-`` in front if the
            least is best.
        open_checkpoint: Makes the `Checkpoint` that users get, from its record and the local
            experiment directory; None gives them the record.
    """

    stopping_criterion: Mapping[str, Any] = field(default_factory=dict)
    max_failures: int = 0
    checkpoint_freq: int = 0
    checkpoint_at_end: bool = False
    keep_checkpoints_num: int | None = None
    checkpoint_score_attr: str = "training_iteration"
    open_checkpoint: Callable[[TrialCheckpoint, str], Any] | None = None


_NO_TERMS = TrialTerms()


def _mean(values: list[float]) -> float:
    """Return the mean; NaN if a value is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the mean itself fits
        return float(sum(map(Fraction, values)) / len(values))


def _can_be_pickled(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # a user's class may raise anything
        return False
    return True


class Trial:
    """One trial: a configuration, its status, results and checkpoints.

    Only the coordinator changes a trial; all others read it. Callbacks may set attributes of their
    own on a trial.

    Attributes:
        trial_id: Id, unique in the experiment.
        config: Resolved configuration.
        evaluated_params: The values of the searched parameters by path.
        experiment_tag: Tag with the trial's number and its searched parameters: ``N_k=v,...``.
        trainable_name: Name of the trainable.
        resources: The resources that an attempt needs.
        status: PENDING, RUNNING, PAUSED, TERMINATED or ERROR.
        attempt: Number of the newest attempt; 0 before the first.
        last_result: The newest result, nested as reported; {} before the first.
        num_failures: Number of attempts that failed by the trial's own fault.
        error: Why the last attempt failed.
        results_seen: Number of acknowledged reports over all attempts.
        start_time: When the first attempt was launched, None before.
        relative_logdir: Path of the trial's directory below the experiment directory.
        local_experiment_dir: The experiment directory on this machine, "" if there is none.
        location: ``address:pid`` of the newest attempt; "" while the trial waits.
        custom_name: The name that a `trial_name_creator` returned.
        terms: The arguments of the experiment that users read from trials, e.g. `max_failures`.
    """

    PENDING = PENDING
    RUNNING = RUNNING
    PAUSED = PAUSED
    TERMINATED = TERMINATED
    ERROR = ERROR

    __slots__ = (
        "__dict__",  # for the attributes of users
        "_checkpoints",
        "_stats",
        "_terms",
        "attempt",
        "config",
        "custom_name",
        "error",
        "evaluated_params",
        "experiment_tag",
        "last_result",
        "last_update_time",
        "local_experiment_dir",
        "location",
        "num_failures",
        "relative_logdir",
        "resources",
        "results_seen",
        "start_time",
        "status",
        "trainable_name",
        "trial_id",
    )

    def __init__(
        self,
        trial_id: str,
        config: dict[str, Any] | None = None,
        *,
        trainable_name: str = "trainable",
        evaluated_params: dict[str, Any] | None = None,
        experiment_tag: str = "",
        resources: Resources | None = None,
        relative_logdir: str = "",
        local_experiment_dir: str = "",
        custom_name: str | None = None,
        terms: TrialTerms = _NO_TERMS,
    ) -> None:
        self.trial_id = trial_id
        self.config: dict[str, Any] = {} if config is None else config
        self.trainable_name = trainable_name
        self.evaluated_params = {} if evaluated_params is None else evaluated_params
        self.experiment_tag = experiment_tag
        self.resources = Resources.parse(None) if resources is None else resources
        self.relative_logdir = relative_logdir
        self.local_experiment_dir = local_experiment_dir
        self.custom_name = custom_name
        self.status = PENDING
        self.attempt = 0
        self.last_result: dict[str, Any] = {}
        self.num_failures = 0
        self.error: AttemptError | None = None
        self.results_seen = 0
        self.start_time: float | None = None
        self.last_update_time: float | None = None
        self.location = ""
        self._checkpoints: tuple[TrialCheckpoint, ...] | bytes = ()
        self._stats: dict[str, MetricStats] | bytes = {}
        self._terms = terms

    def __getstate__(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        own = {name: value for name, value in self.__dict__.items() if _can_be_pickled(value)}
        return own or None, {name: getattr(self, name) for name in Trial.__slots__[1:]}

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        own, slots = state
        self._terms = _NO_TERMS  # records of earlier versions have none
        for name, value in {**slots, **(own or {})}.items():
            setattr(self, name, value)

    def attach_to(self, local_experiment_dir: str, terms: TrialTerms) -> None:
        """Set the experiment directory and terms of this run, for a trial of an earlier run."""
        self.local_experiment_dir = local_experiment_dir
        self._terms = terms

    def __str__(self) -> str:
        if self.custom_name:
            return self.custom_name
        env = self.config.get("env") if isinstance(self.config, dict) else None
        if isinstance(env, type):
            env = env.__name__
        of_env = f"_{env}" if isinstance(env, str) and env else ""
        return f"{self.trainable_name}{of_env}_{self.trial_id}"

    def __repr__(self) -> str:
        return f"<Trial {self} {self.status}>"

    @property
    def logdir(self) -> str:
        """Directory of the trial's result files."""
        if not self.local_experiment_dir:
            return self.relative_logdir
        return f"{self.local_experiment_dir}/{self.relative_logdir}"

    local_path = logdir
    path = logdir

    def init_logdir(self) -> None:
        """Create the trial's directory if it is missing; loggers written for Ray call this."""
        if self.logdir:
            os.makedirs(self.logdir, exist_ok=True)

    init_local_path = init_logdir

    @property
    def local_dir(self) -> str:
        """The experiment directory."""
        return self.local_experiment_dir

    local_experiment_path = local_dir

    #: Always None: in Ray this is the actor that runs the trial.
    runner = None

    @property
    def custom_trial_name(self) -> str | None:
        """The name that a `trial_name_creator` returned, None without one."""
        return self.custom_name

    @property
    def custom_dirname(self) -> str:
        """Path of the trial's directory below the experiment directory."""
        return self.relative_logdir

    # The documentation of these attributes is in `TrialTerms`.
    stopping_criterion = property(attrgetter("_terms.stopping_criterion"))
    max_failures = property(attrgetter("_terms.max_failures"))
    checkpoint_freq = property(attrgetter("_terms.checkpoint_freq"))
    checkpoint_at_end = property(attrgetter("_terms.checkpoint_at_end"))
    keep_checkpoints_num = property(attrgetter("_terms.keep_checkpoints_num"))
    checkpoint_score_attr = property(attrgetter("_terms.checkpoint_score_attr"))

    @property
    def node_ip(self) -> str | None:
        """Address of the node that the newest result came from, None before the first."""
        return self.last_result.get("node_ip")

    @property
    def placement_group_factory(self) -> PlacementGroupFactory:
        """The bundles of resources that an attempt needs."""
        return self.resources.factory

    @property
    def error_file(self) -> str | None:
        """Path of the file with the last error as text, None if there was none."""
        return None if self.error is None else f"{self.logdir}/{ERROR_FILE}"

    @property
    def pickled_error_file(self) -> str | None:
        """Path of the file with the last error as a pickled exception, None if there was none."""
        return None if self.error is None else f"{self.logdir}/{ERROR_PICKLE_FILE}"

    @property
    def checkpoints(self) -> tuple[TrialCheckpoint, ...]:
        """The trial's existing checkpoints, oldest first, with those that have a `problem`."""
        kept = self._checkpoints
        if isinstance(kept, bytes):
            unpacked: tuple[TrialCheckpoint, ...] = pickle.loads(zlib.decompress(kept))
            return unpacked
        return kept

    @checkpoints.setter
    def checkpoints(self, checkpoints: tuple[TrialCheckpoint, ...]) -> None:
        self._checkpoints = checkpoints

    @property
    def newest_checkpoint(self) -> TrialCheckpoint | None:
        """The record of the trial's newest checkpoint without a `problem`; None without one."""
        return newest_usable(self.checkpoints)

    @property
    def checkpoint(self) -> Any:
        """The trial's newest good checkpoint as a `Checkpoint`; None without one."""
        newest, open_checkpoint = self.newest_checkpoint, self._terms.open_checkpoint
        if newest is None or open_checkpoint is None:
            return newest
        return open_checkpoint(newest, self.local_experiment_dir)

    def has_checkpoint(self) -> bool:
        """Return True if the trial has a checkpoint that an attempt can start from."""
        return self.newest_checkpoint is not None

    @property
    def error_msg(self) -> str | None:
        """The full text of the last error, None if there was none."""
        return None if self.error is None else self.error.text()

    def get_error(self) -> TuneError | None:
        """Return an exception with the full text of the last error, None if there was none."""
        return None if self.error is None else TuneError(self.error.text())

    def is_finished(self) -> bool:
        """Return True if the trial has ended and will not run again in this experiment."""
        return self.status in (TERMINATED, ERROR)

    @property
    def metric_analysis(self) -> dict[str, dict[str, float]]:
        """Statistics of each metric: ``{metric: {max, min, avg, last, last-5-avg, last-10-avg}}``.

        Nested metrics are named with ``/``. Auto-filled metrics are left out except
        `training_iteration` and `time_total_s`.
        """
        return {name: stats.summary() for name, stats in list(self._stats_by_metric().items())}

    @property
    def metric_n_steps(self) -> dict[str, dict[str, deque[float]]]:
        """The last five and the last ten values of each metric, ``{metric: {"5", "10"}}``."""
        return {
            name: {str(n): deque(stats.recent, maxlen=n) for n in (5, _WINDOW)}
            for name, stats in self._stats_by_metric().items()
        }

    def metric_value(self, metric: str, scope: str, mode: str) -> float | None:
        """Return the value by which a metric is ranked; None if it was never reported.

        Args:
            metric: Name of the metric, nested ones with ``/``.
            scope: ``last``, ``avg``, ``last-5-avg``, ``last-10-avg`` or ``all`` (the best ever, by
                `mode`).
            mode: ``max`` or ``min``; used by scope ``all`` only.
        """
        stats = self._stats_by_metric().get(metric)
        if stats is None:
            return None
        return stats.summary()[mode if scope == "all" else scope]

    def update_last_result(self, result: dict[str, Any], flat: dict[str, Any], time: float) -> None:
        """Make an acknowledged result the last one, and add it to the statistics.

        Args:
            result: The result, nested as reported.
            flat: The same result with nested keys joined by ``/``.
            time: When it was acknowledged, in seconds since the epoch.
        """
        self.last_result = result
        self.last_update_time = time
        self.results_seen += 1
        stats = self._stats = self._stats_by_metric()
        for name in filterfalse(AUTO_FILLED.__contains__, flat):
            value = flat[name]
            kind = type(value)
            if kind is float or (kind is int and -_LARGEST < value < _LARGEST):
                number = value
            elif (number := number_of(value)) is None:
                continue
            known = stats.get(name)
            if known is None:
                stats[name] = MetricStats(number)
            else:
                known.add(number)

    def record_all(
        self,
        result: dict[str, Any],
        time: float,
        names: tuple[str, ...],
        rows: Sequence[tuple[float, ...]],
    ) -> None:
        """Make all results of a trial that had none known at once, in the form of `compact`.

        Args:
            result: The last result.
            time: When it was acknowledged, in seconds since the epoch.
            names: The metrics, in their order in the results.
            rows: Their values in each result; what a row has behind them is not used.
        """
        self.last_result = result
        self.last_update_time = time
        self.results_seen = len(rows)
        if len(rows) <= _WINDOW:
            self._stats = pickle.dumps((names, rows))
        else:
            columns = zip(names, zip(*rows, strict=True), strict=False)
            self._stats = pickle.dumps([(k, *MetricStats.values_of(v)) for k, v in columns])

    def _stats_by_metric(self) -> dict[str, MetricStats]:
        kept = self._stats
        if not isinstance(kept, bytes):
            return kept
        stats = pickle.loads(kept)
        if isinstance(stats, tuple):  # a few results, as `record_all` leaves them
            names, rows = stats
            columns = zip(names, zip(*rows, strict=True), strict=False)
            stats = [(name, *MetricStats.values_of(values)) for name, values in columns]
        return {name: MetricStats.of(values) for name, *values in stats}

    def compact(self) -> None:
        """Store statistics and checkpoints in less memory, once the trial has ended."""
        if not isinstance(self._stats, bytes):
            self._stats = pickle.dumps([(k, *s.values()) for k, s in self._stats.items()])
        if self._checkpoints and not isinstance(self._checkpoints, bytes):
            # Hundreds of checkpoints with their metrics are large, but compress well.
            self._checkpoints = zlib.compress(pickle.dumps(self._checkpoints))

    def clear_results(self) -> None:
        """Drop the last result and all statistics, for a trial that starts from scratch."""
        self.last_result = {}
        self._stats = {}
