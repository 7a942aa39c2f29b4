"""`Searcher`: the base class of search algorithms."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
from pydantic import SecretStr

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.key import own_pickles
from prefect_tune.experiment.pickling.signing import KEY_VARIABLE
from prefect_tune.experiment.plain import number_of
from prefect_tune.search.search_state import LATEST_STATE, SourceState, read_state
from prefect_tune.space import SearchSpace

logger = logging.getLogger(__name__)

Metric = str | list[str] | None
Mode = str | list[str] | None

#: The key of a result that was reported as a bare number.
DEFAULT_METRIC = "_metric"

_STATE_FILE = "searcher-state-{}.pkl"
# The key of the state itself in a saved file; a user's own state has no such key.
_STATE = "prefect_tune:state"


class Searcher:
    """Base class of algorithms that suggest configurations and learn from results.

    The interface is Ray Tune's. A search algorithm overrides `suggest` and `on_trial_complete`, and
    `set_search_properties` if it can use the search space of the experiment. All methods are called
    from one thread. A `trial_id` identifies a trial in all calls, beginning with `suggest`; a
    `result` is nested as the trial reported it.

    Args:
        metric: The result key to optimise, or a list of them; None to take the experiment's.
        mode: "min" or "max", or a list with one entry per metric.
    """

    #: What `suggest` returns when there will never be another suggestion.
    FINISHED: ClassVar[str] = "FINISHED"

    def __init__(self, metric: Metric = None, mode: Mode = None) -> None:
        check_metric_and_mode(metric, mode)
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> Metric:
        """The result key to optimise."""
        return self._metric

    @property
    def mode(self) -> Mode:
        """ "min" or "max"."""
        return self._mode

    @property
    def wants_results(self) -> bool:
        """Whether the searcher uses intermediate results; if not, they are not passed to it."""
        return type(self).on_trial_result is not Searcher.on_trial_result

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over the experiment's metric, mode and search space.

        Args:
            metric: The experiment's metric; None if not given.
            mode: The experiment's mode; None if not given.
            config: The search space.
            **spec: Further properties of the experiment: `num_samples`, and `seed` if given.

        Returns:
            True if the searcher uses the space; False if it cannot or has a space already.
        """
        return False

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit the number of unfinished suggestions, if the searcher can do so.

        Args:
            max_concurrent: The limit.

        Returns:
            False if it cannot; the caller then wraps the searcher in a `ConcurrencyLimiter`.
        """
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial.

        Returns:
            A config without anything left to resolve; None for "nothing now, ask again later";
            `FINISHED` for "nothing ever again".
        """
        raise NotImplementedError

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from an intermediate result of a running trial."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from the end of a trial.

        Args:
            trial_id: The trial.
            result: The trial's last result; None if it has none.
            error: True if the trial failed.
        """
        raise NotImplementedError

    def on_pause(self, trial_id: str) -> None:
        """Note that the scheduler paused a trial."""

    def on_unpause(self, trial_id: str) -> None:
        """Note that a paused trial runs again."""

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a config whose value is known already.

        Args:
            parameters: The config.
            value: Value of the metric.
            error: Whether the evaluation failed.
            pruned: Whether the evaluation was stopped early.
            intermediate_values: Values of the metric after 1, 2, ... iterations.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot learn from evaluated points")

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from finished trials.

        Args:
            trials_or_analysis: A trial, a list of trials, or an analysis that has ``trials``.
            metric: The result key of the value. Trials without it are ignored unless
                they failed.
        """
        trials = getattr(trials_or_analysis, "trials", trials_or_analysis)
        if not isinstance(trials, Iterable):
            trials = [trials]
        for trial in trials:
            error = trial.status == "ERROR"
            value = (trial.last_result or {}).get(metric)
            if error or (trial.status == "TERMINATED" and value is not None):
                known = float("nan") if value is None else value
                self.add_evaluated_point(trial.config, known, error=error)

    def get_state(self) -> dict[str, Any]:
        """Return the state of the searcher, from which `set_state` continues."""
        return self.__dict__.copy()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a `state` that `get_state` returned."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Write the state to the local file `checkpoint_path`, atomically.

        The file also names the searcher and the version of its library.
        """
        name, library = self.saved_as()
        head = {"searcher": name, "library": library, "version": library_version(library)}
        saved = {**head, _STATE: cloudpickle.dumps(self.get_state())}
        write_atomic(checkpoint_path, pickle.dumps(saved))

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Restore the state from a file of `save`; the file is unpickled, so it must be trusted.

        Raises:
            InvalidArgument: Another searcher has written it, or a version of the library whose
                state the installed one cannot read.
        """
        self._restore(Path(checkpoint_path).read_bytes())

    def _restore(self, pickled: bytes) -> None:
        saved = pickle.loads(pickled)
        if not isinstance(saved, dict) or _STATE not in saved:
            self.set_state(saved)  # of a version before this file had a head
            return
        name, library, before = saved["searcher"], saved["library"], saved["version"]
        if name != self.saved_as()[0]:
            raise InvalidArgument(
                "state",
                f"is the saved state of {name}, not of {self.saved_as()[0]}.",
                "Restore it with the searcher that has saved it, and the same limit of concurrent "
                "trials.",
            )
        now = library_version(library)
        try:
            self.set_state(pickle.loads(saved[_STATE]))
        except Exception as error:
            if now == before:
                raise
            raise InvalidArgument(
                "state",
                f"was saved with {library} {before}, and {library} {now} cannot read it: "
                f"{type(error).__name__}: {error}.",
                f"Install {library} {before}, or begin a new search.",
            ) from error
        if now != before:
            logger.warning(
                "%s goes on with %s %s, but its state was saved with %s: suggestions may differ.",
                name,
                library,
                now,
                before,
            )

    def saved_as(self) -> tuple[str, str | None]:
        """Return whose state `save` writes: the class, and the module of its library."""
        return type(self).__name__, None

    def save_to_dir(
        self, checkpoint_dir: str | os.PathLike[str], session_str: str = "default"
    ) -> None:
        """Write the state into a directory under its usual name.

        Args:
            checkpoint_dir: A local directory.
            session_str: Part of the file's name, to tell experiments in one directory apart.
        """
        self.save(Path(checkpoint_dir) / _STATE_FILE.format(session_str))

    def has_restore_files(self, checkpoint_dir: str | os.PathLike[str]) -> bool:
        """Return whether the directory `checkpoint_dir` holds a state for `restore_from_dir`."""
        return bool(_state_files(checkpoint_dir))

    def restore_from_dir(self, checkpoint_dir: str | os.PathLike[str]) -> None:
        """Restore the newest state in a directory of `save_to_dir` or of an experiment.

        The file is unpickled, so it must be trusted.

        Args:
            checkpoint_dir: A local directory.

        Raises:
            FileNotFoundError: The directory has no saved state.
            InvalidArgument: Another searcher has written it, or a version of the library whose
                state the installed one cannot read.
            EncryptedWithOtherKey: It holds secrets, and is encrypted with another user's key.
        """
        files = _state_files(checkpoint_dir)
        if not files:
            raise FileNotFoundError(
                f"no {_STATE_FILE.format('*')} in {os.fspath(checkpoint_dir)}: nothing was saved "
                f"by save_to_dir() there, nor by an experiment with a searcher ({LATEST_STATE})"
            )
        newest = files[-1]
        if newest.name != LATEST_STATE:
            self.restore(newest)
            return
        key = os.environ.get(KEY_VARIABLE)
        state = read_state(newest, own_pickles(SecretStr(key) if key else None, trusts_all=True))
        if state is None:
            raise InvalidArgument("checkpoint_dir", f"holds a damaged {LATEST_STATE}.")
        parts = pickle.loads(state.state)
        if len(parts) < 3 or not isinstance(parts[2], bytes):
            raise InvalidArgument(
                "checkpoint_dir",
                "is an experiment of random or grid search, which has no searcher to restore.",
                "Pass warm_start_from=[directory] to learn from its trials.",
            )
        self._restore(SourceState(*parts).searcher)


def library_version(module: str | None) -> str | None:
    """Return the version of an imported library, None if it is not there."""
    if module is None:
        return None
    version = getattr(sys.modules.get(module), "__version__", None)
    try:
        return version or importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_metric_and_mode(metric: Metric, mode: Mode) -> None:
    """Check the types and values of metric and mode.

    Raises:
        InvalidArgument: ``mode`` is not "min" or "max", or the lists do not match.
    """
    for one in mode if isinstance(mode, list | tuple) else [mode]:
        if one not in (None, "min", "max"):
            raise InvalidArgument("mode", f'must be "min" or "max", got {one!r}.')
    for one in metric if isinstance(metric, list | tuple) else [metric]:
        if one is not None and not isinstance(one, str):
            raise InvalidArgument(
                "metric", f"must be the name of a result, got {type(one).__name__}: {one!r}."
            )
    several = isinstance(metric, list | tuple), isinstance(mode, list | tuple)
    if metric is None or mode is None or not any(several):
        return
    if several != (True, True) or len(metric) != len(mode):
        raise InvalidArgument(
            "mode", f"needs one entry per metric, got metric={metric!r} and mode={mode!r}."
        )


def check_points(
    points: Sequence[Mapping[str, Any]] | None, rewards: Sequence[Any] | None
) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Check points to evaluate and their rewards, and return them as lists.

    Raises:
        InvalidArgument: ``points`` is no list of dicts, or the rewards do not match.
    """
    points = () if points is None else points
    is_list = isinstance(points, Sequence) and not isinstance(points, str)
    if not is_list or not all(isinstance(point, Mapping) for point in points):
        raise InvalidArgument(
            "points_to_evaluate", f"must be a list of dicts, got {points!r:.200}."
        )
    found = [dict(point) for point in points]
    if rewards is None:
        return found, None
    if not isinstance(rewards, Iterable) or isinstance(rewards, str | Mapping):
        raise InvalidArgument("evaluated_rewards", f"must be a list, got {rewards!r:.200}.")
    rewards = list(rewards)
    if len(rewards) != len(found):
        raise InvalidArgument(
            "evaluated_rewards",
            f"needs one entry per point: there are {len(found)} points_to_evaluate, "
            f"but {len(rewards)} rewards.",
        )
    for reward in rewards:
        for value in reward if isinstance(reward, list | tuple) else [reward]:
            number = number_of(value)
            if number is None or math.isnan(number):
                raise InvalidArgument(
                    "evaluated_rewards",
                    f"has {reward!r}.",
                    "Each is a number, or for several objectives a list of them.",
                )
    return found, rewards


def reject_grids(space: SearchSpace, searcher: str) -> None:
    """Raise an error if a space has grids, which a searcher cannot enumerate.

    Raises:
        InvalidArgument: ``space`` has a grid.
    """
    grids = [variable.name for variable in space.walk() if variable.grid is not None]
    if grids:
        raise InvalidArgument(
            "param_space",
            f"grid_search at {', '.join(map(repr, grids))} cannot be used with {searcher}, which "
            "chooses the values itself.",
            "Use tune.choice, or no search_alg for a grid.",
        )


def metric_values(result: Mapping[str, Any] | None, metric: Metric) -> list[float] | None:
    """Return the metrics' values in a result, None if one is missing or not a number."""
    names = [metric or DEFAULT_METRIC] if not isinstance(metric, list | tuple) else metric
    values = [number_of((result or {}).get(name)) for name in names]
    return None if None in values else [float(value) for value in values if value is not None]


def _state_files(directory: str | os.PathLike[str]) -> list[Path]:
    """Return the files with a state, the newest last."""
    folder = Path(directory).expanduser()
    files = [*folder.glob(_STATE_FILE.format("*")), *folder.glob(LATEST_STATE)]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
