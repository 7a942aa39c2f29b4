"""Domains: the sets of values that parameters are drawn from."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

from prefect_tune.error import InvalidArgument
from prefect_tune.space.random import RandomState, uniform_numbers
from prefect_tune.space.samplers import (
    Grid,
    LogUniform,
    Normal,
    Quantile,
    Quantized,
    Sampler,
    Uniform,
    float_rounder,
    linear_categorical,
    linear_float,
    linear_integer,
    log_float,
    log_integer,
)


class Domain:
    """A set of values together with the way to draw from it.

    A new kind of domain implements `linear_quantile` and `is_valid`; what else it can do
    (`log_quantile`, `quantization_range`, `round_to`) is optional.
    """

    default_sampler_cls: ClassVar[type[Sampler]] = Uniform

    def __init__(self) -> None:
        self.sampler: Sampler | None = None

    def cast(self, value: Any) -> Any:
        """The value as this domain's Python type."""
        return value

    def get_sampler(self) -> Sampler:
        """The sampler that was set, or a new one of the domain's default class."""
        return self.sampler if self.sampler is not None else self.default_sampler_cls()

    def has_sampler(self, cls: type[Sampler]) -> bool:
        """Whether values are drawn by a sampler of this class, rounding aside."""
        sampler = self.get_sampler()
        return isinstance(sampler, cls) or (
            isinstance(sampler, Quantized) and isinstance(sampler.get_sampler(), cls)
        )

    def set_sampler(self, sampler: Sampler, allow_override: bool = False) -> None:
        """Sets the distribution of the values.

        Raises:
            ValueError: A sampler is set already and ``allow_override`` is False.
        """
        if self.sampler is not None and not allow_override:
            raise ValueError(
                f"{self!r} already has the sampler {self.sampler!r}; to replace it pass "
                "allow_override=True"
            )
        self.sampler = sampler

    def quantile(self) -> Quantile:
        """The function that maps a uniform number from ``[0, 1)`` to a value."""
        return self.get_sampler().quantile(self)

    def sample(self, config: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Draws values.

        Args:
            config: The configuration drawn so far; only `Function` looks at it.
            size: How many values.
            random_state: Seed, numpy ``RandomState`` or ``Generator``; None for numpy's global
                state.

        Returns:
            One value for ``size=1``, else a list of ``size`` values.
        """
        if size < 1:
            raise InvalidArgument("size", f"must be >= 1, got {size}.")
        uniform, quantile = uniform_numbers(random_state), self.quantile()
        if size == 1:
            return quantile(uniform())
        return [quantile(uniform()) for _ in range(size)]

    def is_grid(self) -> bool:
        """Whether the values are enumerated instead of drawn."""
        return isinstance(self.get_sampler(), Grid)

    def is_function(self) -> bool:
        """Whether the values are computed by a user's function."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Whether ``value`` is one that could be drawn."""
        raise NotImplementedError

    @property
    def domain_str(self) -> str:
        """The values in words."""
        return "(unknown)"

    def linear_quantile(self) -> Quantile:
        """Quantile of the uniform distribution."""
        raise ValueError(f"{type(self).__name__} has no uniform distribution")

    def log_quantile(self) -> Quantile:
        """Quantile of the log-uniform distribution."""
        raise ValueError(f"{type(self).__name__} has no log-uniform distribution")

    def quantization_range(self, q: float) -> Domain:
        """The domain to draw from before values are rounded to multiples of ``q``."""
        raise ValueError(f"{type(self).__name__} cannot be quantized")

    def round_to(self, q: float) -> Callable[[Any], Any]:
        """Rounds a value of the `quantization_range` to a multiple of ``q``."""
        raise ValueError(f"{type(self).__name__} cannot be quantized")

    def _with_sampler(self, sampler: Sampler) -> Self:
        new = copy.copy(self)
        new.set_sampler(sampler)
        return new

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.domain_str}"


class Float(Domain):
    """Floats from ``lower`` to ``upper``; None means unbounded."""

    def __init__(self, lower: float | None = None, upper: float | None = None) -> None:
        super().__init__()
        self.lower = _as_float("lower", -math.inf if lower is None else lower)
        self.upper = _as_float("upper", math.inf if upper is None else upper)
        if self.lower > self.upper:
            raise InvalidArgument("lower", f"must not exceed upper, got {lower!r} and {upper!r}.")

    def uniform(self) -> Self:
        """A copy whose values are uniform."""
        self._require_bounds("uniform")
        return self._with_sampler(Uniform())

    def loguniform(self, base: float = 10) -> Self:
        """A copy whose values are log-uniform; needs ``lower > 0``."""
        self._require_bounds("loguniform")
        _require_positive(self.lower)
        return self._with_sampler(LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Self:
        """A copy whose values are normally distributed; the domain must be unbounded."""
        if math.isfinite(self.lower) or math.isfinite(self.upper):
            raise ValueError(f"a normal distribution has no bounds, got {self.domain_str}")
        return self._with_sampler(Normal(mean, sd))

    def quantized(self, q: float) -> Self:
        """A copy whose values are rounded to multiples of ``q``.

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
        """The value as a float."""
        return float(value)

    def is_valid(self, value: Any) -> bool:
        """Whether ``value`` is a real number between the bounds, and a multiple of the step."""
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
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
        """Quantile of the uniform distribution."""
        self._require_bounds("uniform")
        return linear_float(self)

    def log_quantile(self) -> Quantile:
        """Quantile of the log-uniform distribution."""
        self._require_bounds("loguniform")
        _require_positive(self.lower)
        return log_float(self)

    def quantization_range(self, q: float) -> Float:
        """The domain itself: its bounds are multiples of ``q``."""
        return self

    def round_to(self, q: float) -> Callable[[float], float]:
        """Rounds to the nearest multiple of ``q`` between the bounds."""
        return float_rounder(q, self.lower, self.upper)

    def _require_bounds(self, distribution: str) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise InvalidArgument(
                "lower" if not math.isfinite(self.lower) else "upper",
                f"a {distribution} distribution needs finite bounds, got {self.domain_str}.",
            )


class Integer(Domain):
    """Integers from ``lower`` to ``upper``; ``upper`` is excluded unless quantized."""

    def __init__(self, lower: int, upper: int) -> None:
        super().__init__()
        self.lower = _as_int("lower", lower)
        self.upper = _as_int("upper", upper)
        if self.lower >= self.upper:
            raise InvalidArgument(
                "lower", f"must be less than upper, got {self.lower} and {self.upper}."
            )

    def uniform(self) -> Self:
        """A copy whose values are uniform."""
        return self._with_sampler(Uniform())

    def loguniform(self, base: float = 10) -> Self:
        """A copy whose values are log-uniform; needs ``lower > 0``."""
        _require_positive(self.lower)
        return self._with_sampler(LogUniform(base))

    def quantized(self, q: int) -> Self:
        """A copy whose values are multiples of ``q``, with ``upper`` included unless ``q`` is 1.

        Raises:
            ValueError: ``q`` is not positive, or there is no multiple of it between the bounds.
        """
        step = _as_int("q", q)
        if step < 1:
            raise InvalidArgument("q", f"the step must be >= 1, got {q!r}.")
        new = copy.copy(self)
        new.set_sampler(Quantized(self.get_sampler(), step), allow_override=True)
        new._inclusive_multiples(step)
        return new

    def cast(self, value: Any) -> int:
        """The value as an int."""
        return int(value)

    def inclusive_bounds(self) -> tuple[int, int]:
        """The smallest and the largest value that can be drawn."""
        sampler = self.get_sampler()
        if isinstance(sampler, Quantized):
            return self._inclusive_multiples(int(sampler.q))
        return self.lower, self.upper - 1

    def is_valid(self, value: Any) -> bool:
        """Whether ``value`` is an integer that can be drawn."""
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
        """Quantile of the uniform distribution."""
        return linear_integer(self)

    def log_quantile(self) -> Quantile:
        """Quantile of the log-uniform distribution."""
        _require_positive(self.lower)
        return log_integer(self)

    def quantization_range(self, q: float) -> Integer:
        """The integers that round down to a multiple of ``q`` between the bounds."""
        lowest, highest = self._inclusive_multiples(int(q))
        return Integer(lowest, highest + int(q))

    def round_to(self, q: float) -> Callable[[int], int]:
        """Rounds down to a multiple of ``q``, so that all multiples are equally likely."""
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


class Categorical(Domain):
    """One of a list of values, which may themselves hold domains."""

    def __init__(self, categories: Iterable[Any]) -> None:
        super().__init__()
        self.categories = as_list("categories", categories)

    def uniform(self) -> Self:
        """A copy whose values are equally likely."""
        return self._with_sampler(Uniform())

    def grid(self) -> Self:
        """A copy that is enumerated like `grid_search`."""
        return self._with_sampler(Grid())

    def is_valid(self, value: Any) -> bool:
        """Whether ``value`` is one of the categories."""
        return value in self.categories

    @property
    def domain_str(self) -> str:
        """The categories."""
        return f"({self.categories})"

    def linear_quantile(self) -> Quantile:
        """Quantile that makes every category equally likely."""
        return linear_categorical(self)

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, index: int) -> Any:
        return self.categories[index]


class Function(Domain):
    """A value computed by a function from the other values.

    Args:
        func: Called with a `SpecView` of the values drawn so far, or without arguments if it
            takes none.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(func):
            raise InvalidArgument("func", f"must be callable, got {type(func).__name__}: {func!r}.")
        self.func = func
        self._takes_spec = _takes_argument(func)

    def quantile(self) -> Quantile:
        """Not available: the function, not a random number, decides."""
        raise ValueError(f"{self!r} is computed, not drawn: call sample(config)")

    def sample(self, config: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Calls the function, ``size`` times; ``random_state`` is not used."""
        values = [self.func(config) if self._takes_spec else self.func() for _ in range(size)]
        return values[0] if size == 1 else values

    def is_function(self) -> bool:
        """Always True."""
        return True

    def is_valid(self, value: Any) -> bool:
        """Always True: what the function returns is not known beforehand."""
        return True

    @property
    def domain_str(self) -> str:
        """The name of the function."""
        return f"({getattr(self.func, '__name__', repr(self.func))})"


def as_list(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list, after checking that there are any.

    Raises:
        ValueError: ``values`` is a string, a mapping, not iterable, or empty.
    """
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise InvalidArgument(
            name, f"must be a list of values, got {type(values).__name__}: {values!r:.200}."
        )
    result = list(values)
    if not result:
        raise InvalidArgument(name, "must hold at least one value, got an empty list.")
    return result


def _takes_argument(func: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # some builtins do not tell their signature
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _as_float(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
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
