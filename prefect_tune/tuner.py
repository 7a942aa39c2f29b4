"""`Tuner`: the object-style way to run a sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.driver import execute
from prefect_tune.engine.request import ExperimentRequest
from prefect_tune.error import InvalidArgument
from prefect_tune.results import ResultGrid
from prefect_tune.tuner_state import TunerState, is_restorable, load_state


class Tuner:
    """Tunes a trainable over a search space.

    Args:
        trainable: A function ``f(config)``.
        param_space: The search space: constants, domains, grids, nested dicts and lists.
        tune_config: How it is searched.
        run_config: How it runs and where its results go.

    Raises:
        InvalidArgument: If `trainable` is missing or a configuration is of another type.
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: dict[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        if trainable is None:
            raise InvalidArgument("trainable", "it is missing.", "Give a function f(config).")
        for name, value, cls in (
            ("tune_config", tune_config, TuneConfig),
            ("run_config", run_config, RunConfig),
        ):
            if value is not None and not isinstance(value, cls):
                raise InvalidArgument(name, f"got {value!r}.", f"Give a {cls.__name__}.")
        self._request = ExperimentRequest(
            trainable=trainable,
            param_space=param_space,
            tune_config=tune_config or TuneConfig(),
            run_config=run_config or RunConfig(),
        )
        self._results: ResultGrid | None = None

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any = None,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: dict[str, Any] | None = None,
    ) -> Tuner:
        """A tuner that goes on, at `fit`, with an interrupted experiment.

        Finished trials are not repeated, failed ones stay failed, those that were running start
        again. A cluster is not remembered: the one of `tune.init` or this machine is used.

        Args:
            path: The experiment directory; it may have been moved.
            trainable: The trainable of the experiment.
            resume_unfinished: Has to be True.
            resume_errored: Not supported yet.
            restart_errored: Not supported yet.
            param_space: The same search space, if it is to be given anew; default as it was.

        Raises:
            InvalidArgument: If there is no such experiment.
        """
        for name, value, right in (
            ("resume_unfinished", resume_unfinished, True),
            ("resume_errored", resume_errored, False),
            ("restart_errored", restart_errored, False),
        ):
            if bool(value) is not right:
                raise InvalidArgument(name, f"got {value!r}, which is not supported yet.")
        state = load_state(Path(path).expanduser().absolute())
        tuner = cls(
            trainable,
            param_space=state.param_space if param_space is None else param_space,
            tune_config=state.tune_config,
            run_config=state.run_config,
        )
        tuner._request.resume = True
        return tuner

    @staticmethod
    def can_restore(path: str | os.PathLike[str]) -> bool:
        """True if `restore` finds the experiment of a tuner in a directory."""
        return is_restorable(Path(path).expanduser().absolute())

    def fit(self) -> ResultGrid:
        """Run the sweep to its end; failed trials are in `ResultGrid.errors`, not raised.

        Raises:
            InvalidArgument: Before any trial starts, if something cannot work.
            TuneError: As documented at `run`, but for failed trials.
        """
        request = self._request
        # Before anything runs: searchers and schedulers change as they do.
        state = TunerState(request.param_space, request.tune_config, request.run_config)
        request.saved = state.dump()
        self._results = ResultGrid(execute(request).analysis)
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of `fit`.

        Raises:
            RuntimeError: Before `fit`.
        """
        if self._results is None:
            raise RuntimeError("There are no results yet: call `fit()` first.")
        return self._results
