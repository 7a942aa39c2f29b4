"""The functions that users write search spaces with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.space.categorical import Categorical, Function, as_list
from prefect_tune.space.numeric import Float, Integer


def uniform(lower: float, upper: float | None = None) -> Float:
    """A float drawn uniformly from ``lower`` to ``upper``.

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
    """A uniform float rounded to multiples of ``q``; both bounds must be multiples of ``q``."""
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """A float whose logarithm is uniform; needs ``lower > 0``.

    ``base`` changes nothing (the distribution is the same for every base); Ray Tune has it.
    """
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """A log-uniform float rounded to multiples of ``q``; both bounds must be multiples of it."""
    return Float(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """A normally distributed float with the given mean and standard deviation."""
    return Float().normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """A normally distributed float rounded to multiples of ``q``."""
    return Float().normal(mean, sd).quantized(q)


def randint(lower: int, upper: int) -> Integer:
    """An integer drawn uniformly from ``lower`` (included) to ``upper`` (excluded)."""
    return Integer(lower, upper).uniform()


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """A multiple of ``q``; ``upper`` is included, except with ``q=1``."""
    return Integer(lower, upper).uniform().quantized(q)


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """An integer whose logarithm is uniform; ``lower > 0`` included, ``upper`` excluded."""
    return Integer(lower, upper).loguniform(base)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """A log-uniform multiple of ``q``; ``upper`` is included, except with ``q=1``."""
    return Integer(lower, upper).loguniform(base).quantized(q)


def choice(categories: Iterable[Any]) -> Categorical:
    """One of the given values, all equally likely.

    The values may hold domains and grids of their own, at any depth; they are resolved after the
    choice was made.
    """
    return Categorical(categories).uniform()


def sample_from(func: Callable[..., Any]) -> Function:
    """A value computed by ``func`` from the other values of the same trial.

    ``func`` gets one object that serves both styles: ``lambda spec: spec.config.x * 2`` and
    ``lambda config: config["x"] * 2``. It runs once the values it asks for are known, and may
    return something that holds domains. A function without arguments works too.
    """
    return Function(func)


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """A parameter of which every value is tried, combined with every value of other grids.

    ``num_samples`` repeats the whole grid.
    """
    return {"grid_search": as_list("grid_search values", values)}
