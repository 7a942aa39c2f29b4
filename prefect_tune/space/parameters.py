"""The functions that users write search spaces with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.space.categorical import Categorical, Function, as_list
from prefect_tune.space.numeric import Float, Integer


def uniform(lower: float, upper: float | None = None) -> Float:
    """Return a float drawn uniformly from ``lower`` to ``upper``.

    Args:
        lower: The lower bound, included.
        upper: The upper bound; None makes `lower` the upper bound and 0 the lower one, so
            ``uniform(100)`` means ``uniform(0, 100)``.

    Raises:
        ValueError: ``lower > upper``, or a bound is not a finite number.
    """
    if upper is None:
        if not lower > 0:
            raise InvalidArgument(
                "upper",
                f"uniform({lower!r}) means uniform(0, {lower!r}), whose upper bound must be > 0.",
                "Pass both bounds: uniform(lower, upper).",
            )
        lower, upper = 0.0, lower
    return Float(lower, upper).uniform()


def quniform(lower: float, upper: float, q: float) -> Float:
    """Return a uniform float rounded to multiples of ``q``.

    Args:
        lower: The lower bound, included; a multiple of `q`.
        upper: The upper bound, included; a multiple of `q`.
        q: The step.

    Raises:
        ValueError: ``lower > upper``, or a bound is not a multiple of `q`.
    """
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """Return a float whose logarithm is uniform.

    Args:
        lower: The lower bound, > 0.
        upper: The upper bound.
        base: Changes nothing, the distribution is the same for every base; Ray Tune has it.

    Raises:
        ValueError: ``lower <= 0`` or ``lower > upper``.
    """
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """Return a log-uniform float rounded to multiples of ``q``.

    Args:
        lower: The lower bound, > 0; a multiple of `q`.
        upper: The upper bound; a multiple of `q`.
        q: The step.
        base: Changes nothing; Ray Tune has it.

    Raises:
        ValueError: ``lower <= 0``, ``lower > upper``, or a bound is not a multiple of `q`.
    """
    return Float(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Return a normally distributed float.

    Args:
        mean: Its mean.
        sd: Its standard deviation, > 0.
    """
    return Float().normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Return a normally distributed float rounded to multiples of ``q``.

    Args:
        mean: Its mean.
        sd: Its standard deviation, > 0.
        q: The step.
    """
    return Float().normal(mean, sd).quantized(q)


def randint(lower: int, upper: int) -> Integer:
    """Return an integer drawn uniformly.

    Args:
        lower: The smallest value.
        upper: The largest value plus one, as in `range`.

    Raises:
        ValueError: ``lower >= upper``.
    """
    return Integer(lower, upper).uniform()


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Return an integer drawn uniformly and rounded to multiples of ``q``.

    Args:
        lower: The smallest value; a multiple of `q`.
        upper: The largest value, a multiple of `q`; with ``q=1`` excluded, as by `randint`.
        q: The step.

    Raises:
        ValueError: ``lower >= upper``, or a bound is not a multiple of `q`.
    """
    return Integer(lower, upper).uniform().quantized(q)


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """Return an integer whose logarithm is uniform.

    Args:
        lower: The smallest value, > 0.
        upper: The largest value plus one.
        base: Changes nothing; Ray Tune has it.

    Raises:
        ValueError: ``lower <= 0`` or ``lower >= upper``.
    """
    return Integer(lower, upper).loguniform(base)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """Return a log-uniform integer rounded to multiples of ``q``.

    Args:
        lower: The smallest value, > 0; a multiple of `q`.
        upper: The largest value, a multiple of `q`; with ``q=1`` excluded.
        q: The step.
        base: Changes nothing; Ray Tune has it.

    Raises:
        ValueError: ``lower <= 0``, ``lower >= upper``, or a bound is not a multiple of `q`.
    """
    return Integer(lower, upper).loguniform(base).quantized(q)


def choice(categories: Iterable[Any]) -> Categorical:
    """Return one of the given values, all equally likely.

    Args:
        categories: The values. They may hold domains and grids of their own, at any depth, which
            are resolved after the choice was made.

    Raises:
        ValueError: If there are none.
    """
    return Categorical(categories).uniform()


def sample_from(func: Callable[..., Any]) -> Function:
    """Return a value computed by ``func`` from the other values of the same trial.

    Args:
        func: It gets one object that serves both styles: ``lambda spec: spec.config.x * 2`` and
            ``lambda config: config["x"] * 2``. It runs once the values it asks for are known, and
            may return something that holds domains. A function without arguments works too.
    """
    return Function(func)


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Return a parameter of which every value is tried, combined with every value of other grids.

    ``num_samples`` repeats the whole grid.

    Args:
        values: The values.
    """
    return {"grid_search": as_list("grid_search values", values)}
