"""Read evaluated configurations for a warm start from experiments, studies, tables and files."""

from __future__ import annotations

import csv
import gzip
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prefect_tune.config import WarmStart
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.plain import number_of
from prefect_tune.nested import flatten, flatten_config
from prefect_tune.results.analysis import ExperimentAnalysis
from prefect_tune.search.warm_start import Evaluated

_DATABASE = re.compile(r"(sqlite|mysql|postgresql|oracle|mssql)(\+\w+)?://")
#: Prefixes of parameter names in tables: this package's and Ray's, Optuna's, scikit-learn's.
_PREFIX = re.compile(r"config/|params_|param_")


def read_evaluated(sources: Sequence[Any], metric: Any) -> list[Evaluated]:
    """Read the evaluated configurations in the sources of `TuneConfig.warm_start_from`.

    Args:
        sources: The user's list of sources.
        metric: The metric of the new search, or a list of them.

    Raises:
        InvalidArgument: If a source cannot be read, or has no value of the metric.
    """
    found: list[Evaluated] = []
    for given in sources:
        source = given if isinstance(given, WarmStart) else WarmStart(given)
        names = source.metric or metric
        if names is None:
            raise InvalidArgument(
                "warm_start_from",
                "it is not known which metric to learn from.",
                "Give `metric` and `mode`.",
            )
        metrics = [names] if isinstance(names, str) else list(names)
        before = len(found)
        for config, values in _read(source, metrics):
            numbers = [number_of(value) for value in values]
            if all(number is not None and math.isfinite(number) for number in numbers):
                value = numbers[0] if len(metrics) == 1 else numbers
                renamed = {source.names.get(name, name): item for name, item in config.items()}
                found.append(Evaluated(renamed, value))
        if len(found) == before:
            raise InvalidArgument(
                "warm_start_from",
                f"nothing in {source.source!r:.200} has a value of {', '.join(metrics)}.",
                "Name sources with that metric, or WarmStart(source, metric='their name of it').",
            )
    return found


def _read(source: WarmStart, metrics: list[str]) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield each configuration, its keys joined by "/", with its values of the metrics."""
    data = source.source
    if isinstance(data, os.PathLike):
        data = os.fspath(data)
    try:
        if isinstance(data, str) and _DATABASE.match(data):
            data = _load_study(data, source.study_name)
        elif isinstance(data, str) and data.lower().endswith((".csv", ".csv.gz")):
            yield from _read_rows(_csv_rows(data), metrics)
            return
        elif isinstance(data, str):
            data = ExperimentAnalysis(data)
    except (TuneError, OSError, ValueError, KeyError, ImportError) as error:
        raise InvalidArgument(
            "warm_start_from",
            f"{data!r:.200} cannot be read ({error}).",
            "Give directories or URLs of experiments, the URL of an Optuna storage, CSV files, or "
            "DataFrames.",
        ) from error
    if hasattr(data, "get_trials"):  # a study of Optuna
        for trial in data.get_trials(deepcopy=False):
            if trial.state.name == "COMPLETE":
                yield dict(trial.params), list(trial.values[: len(metrics)])
    elif hasattr(data, "trials"):
        for trial in data.trials:
            last = flatten(trial.last_result or {})
            yield flatten_config(trial.config), [last.get(name) for name in metrics]
    elif hasattr(data, "to_dict") and hasattr(data, "columns"):
        yield from _read_rows(data.to_dict("records"), metrics)
    elif hasattr(data, "__iter__") and not hasattr(data, "get_best_result"):
        yield from _read_rows(data, metrics)
    elif hasattr(data, "get_best_result"):  # a ResultGrid
        for result in data:
            metrics_of = flatten(result.metrics or {})
            yield flatten_config(result.config or {}), [metrics_of.get(name) for name in metrics]
    else:
        raise InvalidArgument("warm_start_from", f"cannot learn from {data!r:.200}.")


def _load_study(url: str, name: str | None) -> Any:
    import optuna

    if name is None:
        names = optuna.get_all_study_names(url)
        if len(names) != 1:
            raise InvalidArgument(
                "warm_start_from",
                f"{url} has {len(names)} studies: {', '.join(names)}.",
                "Name one: WarmStart(url, study_name='...').",
            )
        name = names[0]
    return optuna.load_study(study_name=name, storage=url)


def _csv_rows(path: str) -> Iterator[dict[str, Any]]:
    with (gzip.open if path.endswith(".gz") else open)(
        path, "rt", newline="", encoding="utf-8"
    ) as file:
        for row in csv.DictReader(file):
            yield {name: _parse_number(text) for name, text in row.items() if name is not None}


def _parse_number(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text


def _read_rows(
    rows: Iterable[Mapping[str, Any]], metrics: list[str]
) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    for row in rows:
        if not isinstance(row, Mapping):
            raise InvalidArgument(
                "warm_start_from", f"{row!r:.200} is no row.", "A table has rows as dicts."
            )
        config = {_PREFIX.sub("", str(name), count=1): value for name, value in row.items()}
        yield config, [row.get(name) for name in metrics]
