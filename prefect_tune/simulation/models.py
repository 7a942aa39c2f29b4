"""Models of training for simulated trials: functions, tables of results, or programs."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ALL_AUTO_FILLED
from prefect_tune.nested import flatten_config
from prefect_tune.results import ExperimentAnalysis, ResultGrid
from prefect_tune.results.frames import trial_results
from prefect_tune.simulation.attempt import Program, Step
from prefect_tune.simulation.surrogates import SURROGATES, Surrogate
from prefect_tune.validation import check_count, check_number

#: Results of a trial of a function of the step, if nobody says how many.
DEFAULT_STEPS = 100
_NOT_OWN = ALL_AUTO_FILLED | {"checkpoint_dir_name"}
_RIGHT = (
    "Give a function f(config, step) that returns the metrics of a step (from 1), or "
    "(metrics, seconds); a function f(config) that yields them; a `ResultTable` of an earlier "
    f"experiment, or that experiment; or a name: {', '.join(sorted(SURROGATES))}."
)


class ResultTable:
    """Model made of an earlier experiment: a trial gets the results of the nearest earlier one.

    Numbers are compared by their position in the range of the earlier ones (on a logarithmic scale
    where these are positive and span more than a factor of 100), other values by equality.

    Args:
        configs: The configurations of earlier trials.
        results: The results of each trial, in order; `time_this_iter_s` is the duration of a
            step, 1 second if it is missing.

    Raises:
        InvalidArgument: If there are none, or their numbers differ.
    """

    def __init__(
        self,
        configs: Sequence[Mapping[str, Any]],
        results: Sequence[Sequence[Mapping[str, Any]]],
    ) -> None:
        if len(configs) != len(results):
            raise InvalidArgument(
                "results", f"there are {len(results)} for {len(configs)} configurations."
            )
        known = [
            (flatten_config(config), list(rows))
            for config, rows in zip(configs, results, strict=True)
            if rows
        ]
        if not known:
            raise InvalidArgument(
                "results", "no trial has any.", "Give those of an experiment that has reported."
            )
        self._configs = [config for config, _ in known]
        self._results = [rows for _, rows in known]
        self._scales = _scales(self._configs)

    @classmethod
    def of(cls, experiment: Any) -> ResultTable:
        """Return the table of an experiment.

        Args:
            experiment: An `ExperimentAnalysis`, a `ResultGrid`, or the experiment's directory.

        Raises:
            StorageError: If it cannot be read.
            InvalidArgument: If no trial of it has results on disk.
        """
        if isinstance(experiment, (str, os.PathLike)):
            experiment = ExperimentAnalysis(experiment)
        trials = getattr(experiment, "analysis", experiment).trials
        return cls([t.config for t in trials], [trial_results(t) for t in trials])

    def __call__(self, config: dict[str, Any]) -> Iterator[Step]:
        """Yield the steps of the trial whose configuration is nearest."""
        wanted = flatten_config(config)
        distances = [self._distance(wanted, known) for known in self._configs]
        for row in self._results[distances.index(min(distances))]:
            seconds = finite_number(row.get("time_this_iter_s"))
            yield Step(own_metrics(row), 1.0 if seconds is None else max(0.0, float(seconds)))

    def _distance(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        total = 0.0
        for name in one.keys() | other.keys():
            a, b, scale = one.get(name), other.get(name), self._scales.get(name)
            if scale is not None and (x := scale(a)) is not None and (y := scale(b)) is not None:
                total += (x - y) ** 2
            elif repr(a) != repr(b):
                total += 1.0
        return total


def _scales(configs: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[Any], float | None]]:
    """Return for each numeric parameter a function that places a value in its range."""
    scales: dict[str, Callable[[Any], float | None]] = {}
    for name in {name for config in configs for name in config}:
        found = [finite_number(config.get(name)) for config in configs]
        numbers = [float(number) for number in found if number is not None]
        if len(numbers) < len(configs) or min(numbers) == max(numbers):
            continue
        low, high = min(numbers), max(numbers)
        is_log = low > 0 and high / low > 100
        scales[name] = _scale(low, high, is_log)
    return scales


def _scale(low: float, high: float, is_log: bool) -> Callable[[Any], float | None]:
    change = math.log if is_log else float
    first, width = change(low), change(high) - change(low)

    def place(value: Any) -> float | None:
        number = finite_number(value)
        if number is None or (is_log and number <= 0):
            return None
        return (change(number) - first) / width

    return place


def own_metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without its automatic metrics."""
    return {name: value for name, value in row.items() if name not in _NOT_OWN}


def as_program(model: Any, steps: int | None = None) -> Program:
    """Return the program that simulated trials of a model run.

    Args:
        model: A user's model; see `simulate`.
        steps: Maximum of results of a trial; None is 100 for a function of the step, and no limit
            for other models.

    Raises:
        InvalidArgument: If it is no model.
    """
    if steps is not None:
        check_count("steps", steps, at_least=1)
    if isinstance(model, str) and model in SURROGATES:
        model = SURROGATES[model]
    if isinstance(model, Surrogate):
        return _program_of_steps(model, model.max_t if steps is None else steps)
    if isinstance(model, (str, os.PathLike, ExperimentAnalysis, ResultGrid)):
        model = ResultTable.of(model)
    if not callable(model) or inspect.isclass(model):
        raise InvalidArgument("model", f"got {model!r:.80}.", _RIGHT)
    try:
        signature = inspect.signature(model)
    except ValueError as error:
        raise InvalidArgument("model", f"{model!r:.80} has no signature.", _RIGHT) from error
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        if count == 2:
            return _program_of_steps(model, DEFAULT_STEPS if steps is None else steps)
        return model if steps is None else lambda config: islice(model(config), steps)
    raise InvalidArgument("model", f"{model!r:.80}{signature} takes other arguments.", _RIGHT)


def _program_of_steps(curve: Callable[[dict[str, Any], int], Any], steps: int) -> Program:
    def program(config: dict[str, Any]) -> Iterator[Step | dict[str, Any]]:
        for step in range(1, steps + 1):
            found = curve(config, step)
            if type(found) is dict:
                yield found
                continue
            if found is None:
                return
            if isinstance(found, tuple):
                metrics, seconds = found
                check_number("seconds of a step", seconds, at_least=0)
                yield Step(metrics, float(seconds))
            else:
                yield found if isinstance(found, (dict, Step)) else {"_metric": found}

    return program
