"""Functions for the parameters of a search space: `uniform`, `choice`, `grid_search` and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.space.categorical import Categorical, Function, as_list
from prefect_tune.space.numeric import Float, Integer


def uniform(lower: float, upper: float | None = None) -> Float:
    """Define a parameter that is a float drawn uniformly from ``lower`` to ``upper``.

    Args:
        lower: The lower bound, included.
        upper: The upper bound. If it is None, `lower` is the upper bound and 0 the lower one:
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
    """Define a parameter that is a uniform float rounded to multiples of ``q``.

    Args:
        lower: The lower bound, included; a multiple of `q`.
        upper: The upper bound, included; a multiple of `q`.
        q: The step.

    Raises:
        ValueError: ``lower > upper``, or a bound is not a multiple of `q`.
    """
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """Define a parameter that is a float whose logarithm is uniform.

    Args:
        lower: The lower bound, > 0.
        upper: The upper bound.
        base: Has no effect, since the distribution is the same for every base; Ray Tune's argument.

    Raises:
        ValueError: ``lower <= 0`` or ``lower > upper``.
    """
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """Define a parameter that is a log-uniform float rounded to multiples of ``q``.

    Args:
        lower: The lower bound, > 0; a multiple of `q`.
        upper: The upper bound; a multiple of `q`.
        q: The step.
        base: Has no effect; Ray Tune's argument.

    Raises:
        ValueError: ``lower <= 0``, ``lower > upper``, or a bound is not a multiple of `q`.
    """
    return Float(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Define a parameter that is a normally distributed float.

    Args:
        mean: The mean of the distribution.
        sd: The standard deviation, > 0.
    """
    return Float().normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Define a parameter that is a normally distributed float rounded to multiples of ``q``.

    Args:
        mean: The mean of the distribution.
        sd: The standard deviation, > 0.
        q: The step.
    """
    return Float().normal(mean, sd).quantized(q)


def randint(lower: int, upper: int) -> Integer:
    """Define a parameter that is an integer drawn uniformly.

    Args:
        lower: The smallest value.
        upper: The largest value plus one, as in `range`.

    Raises:
        ValueError: ``lower >= upper``.
    """
    return Integer(lower, upper).uniform()


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Define a parameter that is a uniform integer rounded to multiples of ``q``.

    Args:
        lower: The smallest value; a multiple of `q`.
        upper: The largest value, a multiple of `q`; with ``q=1`` excluded, as in `randint`.
        q: The step.

    Raises:
        ValueError: ``lower >= upper``, or a bound is not a multiple of `q`.
    """
    return Integer(lower, upper).uniform().quantized(q)


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """Define a parameter that is an integer whose logarithm is uniform.

    Args:
        lower: The smallest value, > 0.
        upper: The largest value plus one.
        base: Has no effect; Ray Tune's argument.

    Raises:
        ValueError: ``lower <= 0`` or ``lower >= upper``.
    """
    return Integer(lower, upper).loguniform(base)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """Define a parameter that is a log-uniform integer rounded to multiples of ``q``.

    Args:
        lower: The smallest value, > 0; a multiple of `q`.
        upper: The largest value, a multiple of `q`; with ``q=1`` excluded.
        q: The step.
        base: Has no effect; Ray Tune's argument.

    Raises:
        ValueError: ``lower <= 0``, ``lower >= upper``, or a bound is not a multiple of `q`.
    """
    return Integer(lower, upper).loguniform(base).quantized(q)


def choice(categories: Iterable[Any]) -> Categorical:
    """Define a parameter that is one of several values, all equally likely.

    Args:
        categories: The values. They may contain domains and grids at any depth, which are resolved
            after the choice was made.

    Raises:
        ValueError: If `categories` is empty.
    """
    return Categorical(categories).uniform()


def sample_from(func: Callable[..., Any]) -> Function:
    """Define a parameter that ``func`` computes from the other parameters of the same trial.

    Args:
        func: Called with one object that supports two styles, ``lambda spec: spec.config.x * 2``
            and ``lambda config: config["x"] * 2``, once all values that the function reads are
            known. The return value may contain domains. The function may also take no arguments.
    """
    return Function(func)


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Define a parameter whose values are all tried, in all combinations with other grids.

    The whole grid is repeated ``num_samples`` times.

    Args:
        values: The values.
    """
    return {"grid_search": as_list("grid_search values", values)}
