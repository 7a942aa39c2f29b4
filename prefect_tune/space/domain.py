"""`Domain`: the base class of sets of values that parameters are drawn from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Self

from prefect_tune.error import InvalidArgument
from prefect_tune.space.random import RandomState, uniform_numbers
from prefect_tune.space.samplers import Grid, Quantile, Quantized, Sampler, Uniform


class Domain:
    """A set of values with a distribution to draw from.

    A subclass implements `linear_quantile` and `is_valid`; `log_quantile`, `quantization_range` and
    `round_to` are optional.
    """

    default_sampler_cls: ClassVar[type[Sampler]] = Uniform

    def __init__(self) -> None:
        self.sampler: Sampler | None = None

    def cast(self, value: Any) -> Any:
        """Convert a value to this domain's Python type."""
        return value

    def get_sampler(self) -> Sampler:
        """Return the sampler that was set, or a new one of the domain's default class."""
        return self.sampler if self.sampler is not None else self.default_sampler_cls()

    def has_sampler(self, cls: type[Sampler]) -> bool:
        """Return whether values are drawn by a sampler of this class, rounding aside."""
        sampler = self.get_sampler()
        return isinstance(sampler, cls) or (
            isinstance(sampler, Quantized) and isinstance(sampler.get_sampler(), cls)
        )

    def set_sampler(self, sampler: Sampler, allow_override: bool = False) -> None:
        """Set the distribution of the values.

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
        """Return the function that maps a uniform number from ``[0, 1)`` to a value."""
        return self.get_sampler().quantile(self)

    def sample(self, config: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Draw values.

        Args:
            config: The configuration drawn so far; only `Function` uses it.
            size: The number of values.
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
        """Return whether the values are enumerated instead of drawn."""
        return isinstance(self.get_sampler(), Grid)

    def is_function(self) -> bool:
        """Return whether the values are computed by a user's function."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` could be drawn."""
        raise NotImplementedError

    @property
    def domain_str(self) -> str:
        """The set of values as text."""
        return "(unknown)"

    def linear_quantile(self) -> Quantile:
        """Return the quantile function of the uniform distribution."""
        raise ValueError(f"{type(self).__name__} has no uniform distribution")

    def log_quantile(self) -> Quantile:
        """Return the quantile function of the log-uniform distribution."""
        raise ValueError(f"{type(self).__name__} has no log-uniform distribution")

    def quantization_range(self, q: float) -> Domain:
        """Return the domain to draw from before values are rounded to multiples of ``q``."""
        raise ValueError(f"{type(self).__name__} cannot be quantized")

    def round_to(self, q: float) -> Callable[[Any], Any]:
        """Return a function that rounds a value to a multiple of ``q``."""
        raise ValueError(f"{type(self).__name__} cannot be quantized")

    def _with_sampler(self, sampler: Sampler) -> Self:
        new = copy.copy(self)
        new.set_sampler(sampler)
        return new

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.domain_str}"
