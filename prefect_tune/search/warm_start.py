"""Warm start: pass configurations that were evaluated earlier to a search."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.nested import PathConflict, unflatten_dict
from prefect_tune.search.searcher import Mode, Searcher
from prefect_tune.search.wrapper import SearcherWrapper
from prefect_tune.space import Categorical, Domain, Integer, SearchSpace, could_be, is_variable

logger = logging.getLogger(__name__)

#: How many of the best configurations a search that cannot learn tries first.
MOST_POINTS = 10


class Evaluated(NamedTuple):
    """A configuration and its value of the metric.

    Attributes:
        config: The configuration; nested values may have "a/b" keys.
        value: The metric; a list for several objectives.
    """

    config: dict[str, Any]
    value: Any


def fitting(space: SearchSpace, evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the configurations that are in a space, without parameters that it does not search.

    The number of other configurations is logged. For a space without variables, as with a searcher
    that has its own, all configurations are returned.
    """
    if not space.variables:
        return list(evaluated)
    found: list[Evaluated] = []
    problems: list[str] = []
    for config, value in evaluated:
        try:
            found.append(Evaluated(_restricted(space.space, unflatten_dict(config), ""), value))
        except (_Unfit, PathConflict) as error:
            problems.append(str(error))
    if problems:
        logger.warning(
            "warm_start_from: %d of %d earlier configurations are left out, as they do not lie in "
            "the search space; the first one: %s",
            len(problems),
            len(evaluated),
            problems[0],
        )
    return found


def can_learn(searcher: Searcher) -> bool:
    """Return whether a searcher can learn from configurations that were evaluated elsewhere."""
    while isinstance(searcher, SearcherWrapper):
        searcher = searcher.searcher
    return type(searcher).add_evaluated_point is not Searcher.add_evaluated_point


def teach(searcher: Searcher, evaluated: Iterable[Evaluated]) -> None:
    """Pass evaluated configurations to a searcher; those that it rejects are left out."""
    refused: list[InvalidArgument] = []
    for config, value in evaluated:
        try:
            searcher.add_evaluated_point(config, value)
        except InvalidArgument as error:
            refused.append(error)
    if refused:
        logger.warning(
            "warm_start_from: %s rejects %d of the earlier configurations; the first one: %s",
            type(searcher).__name__,
            len(refused),
            refused[0],
        )


def best_points(evaluated: Sequence[Evaluated], mode: Mode) -> list[dict[str, Any]]:
    """Return the best configurations; with several objectives, the first ones."""
    if isinstance(mode, str):
        sign = 1 if mode == "min" else -1
        evaluated = sorted(evaluated, key=lambda one: sign * float(one.value))
    return [one.config for one in evaluated[:MOST_POINTS]]


class _Unfit(Exception):
    """An error: a configuration is not in the space."""


def _restricted(space: Any, config: Any, name: str) -> Any:
    if is_variable(space):
        return _value(space, config, name)
    if isinstance(space, dict):
        if not isinstance(config, Mapping):
            raise _Unfit(f"{name or 'it'} is {config!r:.100} and no dict")
        result = {}
        for key, part in space.items():
            if not SearchSpace({"": part}).variables or _is_computed(part):
                continue
            path = f"{name}/{key}" if name else str(key)
            if key not in config:
                raise _Unfit(f"there is no {path!r}")
            result[key] = _restricted(part, config[key], path)
        return result
    if not isinstance(config, list | tuple) or len(config) != len(space):
        raise _Unfit(f"{name!r} is {config!r:.100}")
    return [
        _restricted(part, item, f"{name}/{index}") if SearchSpace({"": part}).variables else item
        for index, (part, item) in enumerate(zip(space, config, strict=True))
    ]


def _is_computed(part: Any) -> bool:
    return isinstance(part, Domain) and part.is_function()


def _value(variable: Any, value: Any, name: str) -> Any:
    """Convert a value, which may have been read from text, to a possible value of a variable."""
    plain = (
        getattr(value, "item", lambda: value)() if getattr(value, "shape", None) == () else value
    )
    domain = variable if isinstance(variable, Domain) else Categorical(variable["grid_search"])
    number = number_of(plain)
    if isinstance(domain, Integer) and number is not None and not isinstance(plain, bool):
        plain = int(number) if math.isfinite(number) and number == int(number) else plain
    if domain.is_valid(plain):
        return plain
    if isinstance(domain, Categorical):
        for category in domain.categories:
            if str(category) == str(plain) or (number is not None and could_be(category, number)):
                return category
    raise _Unfit(f"{name!r} is {value!r:.100}, which is not in {domain!r:.200}")
