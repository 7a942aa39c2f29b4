"""Domains of values of any type: one of a list, or the return value of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.space.domain import Domain
from prefect_tune.space.random import RandomState
from prefect_tune.space.samplers import Grid, Quantile, Uniform


class Categorical(Domain):
    """A domain of listed values, which may contain further domains; a string lists its letters."""

    def __init__(self, categories: Iterable[Any]) -> None:
        super().__init__()
        letters = isinstance(categories, str)
        self.categories = as_list("categories", list(categories) if letters else categories)

    def uniform(self) -> Self:
        """Return a copy of the domain whose values are equally likely."""
        return self._with_sampler(Uniform())

    def grid(self) -> Self:
        """Return a copy of the domain that is enumerated like `grid_search`."""
        return self._with_sampler(Grid())

    def is_valid(self, value: Any) -> bool:
        """Return whether ``value`` is a category, or could come from one that contains domains."""
        return any(could_be(category, value) for category in self.categories)

    @property
    def domain_str(self) -> str:
        """The categories as text."""
        return f"({self.categories})"

    def linear_quantile(self) -> Quantile:
        """Return a quantile function that makes all categories equally likely."""
        categories, count = self.categories, len(self.categories)
        return lambda u: categories[int(u * count)]

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, index: int) -> Any:
        return self.categories[index]


class Function(Domain):
    """A domain whose value a function computes from a trial's other values.

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
        """Raise an error: the values are computed, not drawn."""
        raise ValueError(f"{self!r} is computed, not drawn: call sample(config)")

    def sample(self, config: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Call the function ``size`` times; ``random_state`` is not used."""
        values = [self.func(config) if self._takes_spec else self.func() for _ in range(size)]
        return values[0] if size == 1 else values

    def is_function(self) -> bool:
        """Return True."""
        return True

    def is_valid(self, value: Any) -> bool:
        """Return True, since the function may return any value."""
        return True

    @property
    def domain_str(self) -> str:
        """The name of the function as text."""
        return f"({getattr(self.func, '__name__', repr(self.func))})"


def could_be(pattern: Any, value: Any) -> bool:
    """Return whether resolving the variables in ``pattern`` can give ``value``."""
    if isinstance(pattern, Domain):
        return pattern.is_valid(value)
    if isinstance(pattern, dict) and isinstance(value, dict):
        return pattern.keys() == value.keys() and all(
            could_be(item, value[key]) for key, item in pattern.items()
        )
    if isinstance(pattern, list | tuple) and isinstance(value, list | tuple):
        return len(pattern) == len(value) and all(map(could_be, pattern, value))
    return pattern is value or bool(np.all(pattern == value))


def as_list(name: str, values: Iterable[Any]) -> list[Any]:
    """Check that values are a list that is not empty, and return them.

    Args:
        name: Name of the argument in errors.
        values: The values.

    Raises:
        InvalidArgument: ``values`` is a string, a mapping, not iterable, or empty.
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
    except (TypeError, ValueError):  # some builtins have no signature
        return True
    for arguments in ((None,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise InvalidArgument(
        "func",
        f"{getattr(func, '__name__', repr(func))}{signature} can be called neither with one "
        "argument nor without.",
        "It gets the values drawn so far, `lambda spec: spec.config.x * 2`, or nothing.",
    )
