"""Domains of floats and integers."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self

from prefect_tune.error import InvalidArgument
from prefect_tune.space.domain import Domain
from prefect_tune.space.samplers import (
    LogUniform,
    Normal,
    Quantile,
    Quantized,
    Uniform,
)
from prefect_tune.validation import is_number


class Float(Domain):
    """A domain of floats from ``lower`` to ``upper``; None means unbounded."""

    def __init__(self, lower: float | None = None, upper: float | None = None) -> None:
        super().__init__()
        self.lower = _as_float("lower", -math.inf if lower is None else lower)
        self.upper = _as_float("upper", math.inf if upper is None else upper)
        if self.lower > self.upper:
            raise InvalidArgument("lower", f"must not exceed upper, got {lower!r} and {upper!r}.")

    def uniform(self) -> Self:
        """Return a copy whose values are uniform."""
        self._require_bounds("uniform")
        return self._with_sampler(Uniform())

    def loguniform(self, base: float = 10) -> Self:
        """Return a copy whose values are log-uniform; needs ``lower > 0``."""
        self._require_bounds("loguniform")
        _require_positive(self.lower)
        return self._with_sampler(LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Self:
        """Return a copy whose values are normally distributed; the domain must be unbounded."""
        if math.isfinite(self.lower) or math.isfinite(self.upper):
            raise ValueError(f"a normal distribution has no bounds, got {self.domain_str}")
        return self._with_sampler(Normal(mean, sd))

    def quantized(self, q: float) -> Self:
        """Return a copy whose values are rounded to multiples of ``q``.

        Raises:
            ValueError: ``q`` is not positive, or a bound is not a multiple of it.
        """
        if not (math.isfinite(q) and q > 0):
            raise InvalidArgument("q", f"the step must be a number > 0, got {q!r}.")
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if math.isfinite(bound) and not _is_multiple(bound, q):
                raise InvalidArgument(name, f"{bound} is not a multiple of the step q={q}.")
        new = copy.copy(self)
        new.set_sampler(Quantized(self.get_sampler(), q), allow_override=True)
        return new

    def cast(self, value: Any) -> float:
        """Return the value as a float."""
        return float(value)

    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` is a number between the bounds and a multiple of the step."""
        if not is_number(value):
            return False
        sampler = self.get_sampler()
        if isinstance(sampler, Quantized) and not _is_multiple(float(value), sampler.q):
            return False
        return self.lower <= float(value) <= self.upper

    @property
    def domain_str(self) -> str:
        """The bounds."""
        return f"({self.lower:g}, {self.upper:g})"

    def linear_quantile(self) -> Quantile:
        """Return the quantile function of the uniform distribution."""
        self._require_bounds("uniform")
        lower, upper = self.lower, self.upper
        width = upper - lower
        # lower + u * width may round up to just over `upper`.
        return lambda u: min(lower + u * width, upper)

    def log_quantile(self) -> Quantile:
        """Return the quantile function of the log-uniform distribution."""
        self._require_bounds("loguniform")
        _require_positive(self.lower)
        lower, upper = self.lower, self.upper
        start, width = math.log(lower), math.log(upper) - math.log(lower)
        exp = math.exp
        return lambda u: min(max(exp(start + u * width), lower), upper)

    def quantization_range(self, q: float) -> Float:
        """Return the domain itself, whose bounds are multiples of ``q``."""
        return self

    def round_to(self, q: float) -> Callable[[float], float]:
        """Return a function that rounds to the nearest multiple of ``q`` between the bounds.

        The values have the number of decimals of ``q``, so that 0.30000000000000004 becomes 0.3.
        """
        step, lower, upper = float(q), self.lower, self.upper  # an int would turn values into ints
        exponent = Decimal(repr(step)).as_tuple().exponent
        decimals = -exponent if isinstance(exponent, int) else 0
        return lambda value: min(max(round(round(value / step) * step, decimals), lower), upper)

    def _require_bounds(self, distribution: str) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise InvalidArgument(
                "lower" if not math.isfinite(self.lower) else "upper",
                f"a {distribution} distribution needs finite bounds, got {self.domain_str}.",
            )


class Integer(Domain):
    """A domain of integers from ``lower`` to ``upper``, which is excluded unless quantized."""

    def __init__(self, lower: int, upper: int) -> None:
        super().__init__()
        self.lower = _as_int("lower", lower)
        self.upper = _as_int("upper", upper)
        if self.lower >= self.upper:
            raise InvalidArgument(
                "lower", f"must be less than upper, got {self.lower} and {self.upper}."
            )

    def uniform(self) -> Self:
        """Return a copy whose values are uniform."""
        return self._with_sampler(Uniform())

    def loguniform(self, base: float = 10) -> Self:
        """Return a copy whose values are log-uniform; needs ``lower > 0``."""
        _require_positive(self.lower)
        return self._with_sampler(LogUniform(base))

    def quantized(self, q: int) -> Self:
        """Return a copy whose values are multiples of ``q``; ``upper`` is included if ``q > 1``.

        Raises:
            ValueError: ``q`` is not positive, or no multiple of ``q`` is between the bounds.
        """
        step = _as_int("q", q)
        if step < 1:
            raise InvalidArgument("q", f"the step must be >= 1, got {q!r}.")
        new = copy.copy(self)
        new.set_sampler(Quantized(self.get_sampler(), step), allow_override=True)
        new._inclusive_multiples(step)
        return new

    def cast(self, value: Any) -> int:
        """Return the value as an int."""
        return int(value)

    def inclusive_bounds(self) -> tuple[int, int]:
        """Return the smallest and the largest value that can be drawn."""
        sampler = self.get_sampler()
        if isinstance(sampler, Quantized):
            return self._inclusive_multiples(int(sampler.q))
        return self.lower, self.upper - 1

    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` is an integer that can be drawn."""
        if not isinstance(value, numbers.Integral) or isinstance(value, bool):
            return False
        sampler = self.get_sampler()
        if isinstance(sampler, Quantized) and int(value) % int(sampler.q):
            return False
        lowest, highest = self.inclusive_bounds()
        return lowest <= int(value) <= highest

    @property
    def domain_str(self) -> str:
        """The bounds."""
        return f"({self.lower}, {self.upper})"

    def linear_quantile(self) -> Quantile:
        """Return the quantile function of the uniform distribution."""
        lower, count = self.lower, self.upper - self.lower
        return lambda u: lower + int(u * count)

    def log_quantile(self) -> Quantile:
        """Return the quantile function of the log-uniform distribution."""
        _require_positive(self.lower)
        lower, last = self.lower, self.upper - 1
        start, width = math.log(lower), math.log(self.upper) - math.log(lower)
        exp = math.exp
        return lambda u: min(max(int(exp(start + u * width)), lower), last)

    def quantization_range(self, q: float) -> Integer:
        """Return the integers that round down to a multiple of ``q`` between the bounds."""
        lowest, highest = self._inclusive_multiples(int(q))
        return Integer(lowest, highest + int(q))

    def round_to(self, q: float) -> Callable[[int], int]:
        """Return a function that rounds down to a multiple of ``q``.

        Rounding down makes all multiples equally likely.
        """
        step = int(q)
        return lambda value: value // step * step

    def _inclusive_multiples(self, q: int) -> tuple[int, int]:
        if q == 1:
            return self.lower, self.upper - 1
        lowest, highest = -(-self.lower // q) * q, self.upper // q * q
        if lowest > highest:
            raise InvalidArgument(
                "q", f"there is no multiple of {q} between {self.lower} and {self.upper}."
            )
        return lowest, highest


def _as_float(name: str, value: Any) -> float:
    if not is_number(value):
        raise InvalidArgument(name, f"must be a number, got {type(value).__name__}: {value!r}.")
    if math.isnan(value):
        raise InvalidArgument(name, "must be a number, got NaN.")
    return float(value)


def _as_int(name: str, value: Any) -> int:
    number = _as_float(name, value)
    if number.is_integer():
        return int(value)
    raise InvalidArgument(name, f"must be an integer, got {type(value).__name__}: {value!r}.")


def _is_multiple(value: float, q: float) -> bool:
    steps = value / q
    return math.isclose(steps, round(steps), rel_tol=1e-9, abs_tol=1e-9)


def _require_positive(lower: float) -> None:
    if not lower > 0:
        raise InvalidArgument("lower", f"must be > 0 for a log-uniform distribution, got {lower}.")
