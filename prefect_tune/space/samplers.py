"""Samplers: the distributions of the values of domains.

A sampler is an inverse distribution function. It turns one uniform number from ``[0, 1)`` into
one value of the domain, so every draw costs one random number whatever the distribution, and any
source of uniform numbers (pseudo-random, quasi-random, recorded) can drive a search space.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

from prefect_tune.error import InvalidArgument

if TYPE_CHECKING:
    from prefect_tune.space.domain import Domain

Quantile: TypeAlias = Callable[[float], Any]

# The inverse normal distribution is infinite at 0, and a uniform draw from [0, 1) can be 0.
_SMALLEST_UNIFORM = 2.0**-54


class Sampler(ABC):
    """Base class of distributions of the values of a domain."""

    @abstractmethod
    def quantile(self, domain: Domain) -> Quantile:
        """Return the function that maps a uniform number from ``[0, 1)`` to a value."""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


class Uniform(Sampler):
    """A distribution that makes all values of the domain equally likely."""

    def quantile(self, domain: Domain) -> Quantile:
        """Return the quantile function of the domain's uniform distribution."""
        return domain.linear_quantile()


class LogUniform(Sampler):
    """A distribution of values whose logarithm is uniform.

    Args:
        base: Ray Tune's argument; the distribution is the same for every base.
    """

    def __init__(self, base: float = 10) -> None:
        if not base > 0 or base == 1:
            raise InvalidArgument("base", f"must be positive and not 1, got {base!r}.")
        self.base = base

    def quantile(self, domain: Domain) -> Quantile:
        """Return the quantile function of the domain's log-uniform distribution."""
        return domain.log_quantile()


class Normal(Sampler):
    """A normal distribution with mean ``mean`` and standard deviation ``sd``."""

    def __init__(self, mean: float = 0.0, sd: float = 1.0) -> None:
        if not math.isfinite(mean):
            raise InvalidArgument("mean", f"must be a finite number, got {mean!r}.")
        if not (math.isfinite(sd) and sd > 0):
            raise InvalidArgument("sd", f"must be a number > 0, got {sd!r}.")
        self.mean = mean
        self.sd = sd

    def quantile(self, domain: Domain) -> Quantile:
        """Return the quantile function of the normal distribution."""
        inverse = NormalDist(self.mean, self.sd).inv_cdf
        return lambda u: inverse(max(u, _SMALLEST_UNIFORM))


class Grid(Sampler):
    """A marker of domains that are enumerated: each category gets a trial, as in `grid_search`."""

    def quantile(self, domain: Domain) -> Quantile:
        """Raise an error: values of a grid are enumerated, not drawn."""
        raise ValueError(
            f"{domain!r} is a grid: its values are enumerated by the variant generator, "
            "they cannot be sampled"
        )


class Quantized(Sampler):
    """A distribution whose values are rounded to multiples of ``q``.

    Args:
        sampler: The distribution before rounding.
        q: The step, > 0. For integer domains the upper bound is included if ``q > 1`` and excluded
            if ``q = 1`` (Ray Tune's rule).
    """

    def __init__(self, sampler: Sampler, q: float) -> None:
        self.sampler = sampler
        self.q = q

    def get_sampler(self) -> Sampler:
        """Return the distribution before rounding."""
        return self.sampler

    def quantile(self, domain: Domain) -> Quantile:
        """Return the inner sampler's quantile function with rounded values."""
        inner = self.sampler.quantile(domain.quantization_range(self.q))
        round_to_step = domain.round_to(self.q)
        return lambda u: round_to_step(inner(u))
