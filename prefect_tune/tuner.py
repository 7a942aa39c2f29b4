"""`Tuner`: the object-style way to run a sweep."""

from __future__ import annotations

from typing import Any

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.driver import execute
from prefect_tune.engine.request import ExperimentRequest
from prefect_tune.error import InvalidArgument
from prefect_tune.results import ResultGrid


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

    def fit(self) -> ResultGrid:
        """Run the sweep to its end; failed trials are in `ResultGrid.errors`, not raised.

        Raises:
            InvalidArgument: Before any trial starts, if something cannot work.
            TuneError: As documented at `run`, but for failed trials.
        """
        self._results = ResultGrid(execute(self._request).analysis)
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of `fit`.

        Raises:
            RuntimeError: Before `fit`.
        """
        if self._results is None:
            raise RuntimeError("There are no results yet: call `fit()` first.")
        return self._results
