"""`ParameterSpace`: a search space as the flat list of numbers that optimisers of libraries use.

Parameters of these optimisers are floats, ints, or indices of choices, on a linear or a logarithmic
scale. `ParameterSpace` reduces a space to those. Nested names become "a/b"; constants and values
with one possibility are left out and added again; a domain with steps becomes an int that counts
the steps; a normal distribution becomes the probability below the value; the parameters of all
branches of a conditional space are in the list, and those of branches that were not chosen have no
effect.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

from prefect_tune.error import InvalidArgument
from prefect_tune.space import (
    Categorical,
    Domain,
    Float,
    Integer,
    LogUniform,
    Normal,
    Quantized,
    SearchSpace,
    Variable,
    could_be,
    random_draw,
)
from prefect_tune.space.random import Stream
from prefect_tune.validation import is_number

# Where the inverse normal distribution is still finite.
_ALMOST_ONE = 1 - 2.0**-53

#: A configuration as an optimiser gets it: numbers and indices by name of the parameter.
Point = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter that an optimiser searches: a number with a range and a scale.

    Attributes:
        name: The path of the values, "a/b"; followed by "@2" and so on where branches of a
            conditional space have different ranges at one path.
        kind: Whether the number is a float, an int, or the index of a choice.
        low: The smallest number.
        high: The largest number, included.
        log: Whether the logarithm of the number is searched.
        first: The value for the number 0, if the number counts steps.
        step: The size of the steps; 0 if the number is the value itself.
        domain: The domain of the values.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    low: Any
    high: Any
    log: bool
    first: float
    step: float
    domain: Domain = field(compare=False)

    @classmethod
    def of(cls, name: str, domain: Domain, searcher: str) -> Parameter:
        """Make the parameter for a domain.

        Raises:
            InvalidArgument: The domain is of an unknown kind.
        """
        if isinstance(domain, Categorical):
            return cls(name, "choice", 0, len(domain) - 1, False, 0, 0, domain)
        if domain.has_sampler(Normal):
            return cls(name, "float", 0.0, 1.0, False, 0, 0, domain)
        if not isinstance(domain, Float | Integer):
            raise InvalidArgument(
                "param_space",
                f"{searcher} does not know how to search {domain!r} at {name!r}.",
                "Use uniform, loguniform, randint, lograndint, randn, their q variants, or choice.",
            )
        kind: Literal["float", "int"] = "float"
        low: float
        high: float
        if isinstance(domain, Integer):
            kind, (low, high) = "int", domain.inclusive_bounds()
        else:
            low, high = domain.lower, domain.upper
        sampler, log = domain.get_sampler(), domain.has_sampler(LogUniform)
        if isinstance(sampler, Quantized) and not log:
            steps = round((high - low) / sampler.q)
            return cls(name, "int", 0, steps, False, low, sampler.q, domain)
        return cls(name, kind, low, high, log, 0, 0, domain)

    @property
    def scaled_bounds(self) -> tuple[float, float]:
        """The bounds of the number for an optimiser without logarithmic scales."""
        return self.scaled(self.low), self.scaled(self.high)

    def scaled(self, number: float) -> float:
        """Convert a number to the scale of `scaled_bounds`."""
        return math.log(number) if self.log else float(number)

    def unscaled(self, number: float) -> float:
        """Convert a number from the scale of `scaled_bounds`."""
        return math.exp(number) if self.log else number

    def value(self, number: Any) -> Any:
        """Convert an optimiser's number to the value in the configuration."""
        number = min(max(float(number), self.low), self.high)
        if self.kind != "float":
            number = round(number)
        if isinstance(self.domain, Categorical):
            return self.domain.categories[number]
        if self.domain.has_sampler(Normal):
            return self.domain.quantile()(min(number, _ALMOST_ONE))
        if self.step:
            number = self.first + number * self.step
        sampler = self.domain.get_sampler()
        if isinstance(sampler, Quantized):
            number = self.domain.round_to(sampler.q)(number)
        return self.domain.cast(number)

    def number(self, variable: Variable, value: Any) -> tuple[Any, list[Variable]]:
        """Convert a value to the optimiser's number; also return the variables inside the value.

        Raises:
            InvalidArgument: The parameter's domain does not have the value.
        """
        if isinstance(self.domain, Categorical):
            for index, category in enumerate(self.domain.categories):
                if could_be(category, value):
                    template = variable.template_of(category)
                    return index, template.variables if template else []
        elif is_number(value):
            number = float(value)
            if self.domain.has_sampler(Normal):
                sampler = self.domain.get_sampler()
                normal = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler
                number = NormalDist(normal.mean, normal.sd).cdf(number)  # type: ignore[attr-defined]
            elif self.step:
                number = round((number - self.first) / self.step, 9)
            if self.low <= number <= self.high:
                return (number if self.kind == "float" else round(number)), []
        raise InvalidArgument(
            "points_to_evaluate",
            f"{variable.name!r} is {value!r}, which is not one of its values.",
            f"They are {self.domain!r}.",
        )


class ParameterSpace:
    """A search space with its list of parameters for an optimiser.

    Args:
        space: The parsed space.
        searcher: Name of the searcher, for errors.
        stream: Draws values that the optimiser does not know: domains that functions return.

    Raises:
        InvalidArgument: A variable of the space is of an unknown kind.
    """

    def __init__(self, space: SearchSpace, searcher: str, stream: Stream) -> None:
        self.space = space
        self._searcher = searcher
        self._stream = stream
        self._by_variable = dict(self._named())
        found = {p.name: p for p in self._by_variable.values()}
        #: The parameters to search, without those that have one value only.
        self.parameters = [p for p in found.values() if p.low < p.high]

    def __reduce__(self) -> tuple[Any, ...]:
        # The parameters are found by the identity of variables, which no copy has.
        return type(self), (self.space, self._searcher, self._stream)

    def _named(self) -> Iterator[tuple[Variable, Parameter]]:
        """Return the parameter of each variable; one name stands for one kind of parameter only."""
        used: dict[str, Parameter] = {}
        for variable in self.space.walk():
            if variable.domain is None or variable.function is not None:
                continue
            for number in itertools.count(1):
                name = variable.name if number == 1 else f"{variable.name}@{number}"
                parameter = self._parameter(name, variable.domain)
                if self._may_share(used.get(name), parameter):
                    break
            used.setdefault(name, parameter)
            yield variable, parameter

    def _parameter(self, name: str, domain: Domain) -> Parameter:
        return Parameter.of(name, domain, self._searcher)

    def _may_share(self, there: Parameter | None, parameter: Parameter) -> bool:
        """Return whether a parameter may have a name that another one, if any, has already."""
        return there is None or there == parameter

    def config(self, point: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> Any:
        """Return the configuration of a point.

        Args:
            point: A number for each parameter.
            preset: A user's values, which replace those of the point.
        """
        if preset:
            fixed = self.space.with_preset(preset, warn=False)
            return ParameterSpace(fixed, self._searcher, self._stream).config(point)
        return self.resolved(lambda p: p.value(point.get(p.name, p.low)))

    def resolved(self, value_of: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Return the configuration that has these values of parameters.

        Args:
            value_of: Called for the parameters that the configuration has, and no others.
        """
        draw_unknown = random_draw(self._stream)

        def draw(variable: Variable) -> Any:
            parameter = self._by_variable.get(variable)
            return draw_unknown(variable) if parameter is None else value_of(parameter)

        return next(self.space.variants(draw))

    def point(self, config: Mapping[str, Any], whole: bool = False) -> Point:
        """Return the numbers of a configuration, which may be partial.

        Args:
            config: Nested like the space, or with "a/b" for nested keys.
            whole: Whether the configuration must have all searched parameters.

        Raises:
            InvalidArgument: The configuration has a key or value that is not in the space, or lacks
                a parameter.
        """
        found = {p.name: number for p, number in self._numbers(config, whole)}
        return {p.name: found[p.name] for p in self.parameters if p.name in found}

    def _numbers(
        self, config: Mapping[str, Any], whole: bool = False
    ) -> Iterator[tuple[Parameter, Any]]:
        self.space.with_preset(config, warn=False)  # refuses unknown keys
        todo = list(self.space.variables)
        while todo:
            variable = todo.pop(0)
            parameter = self._by_variable.get(variable)
            found, value = lookup(config, variable.path)
            if parameter is None:
                continue
            if whole and not found:
                raise InvalidArgument(
                    "points_to_evaluate",
                    f"{dict(config)!r:.200} has no value for {variable.name!r}.",
                    "A point whose value is known must be a whole configuration.",
                )
            if found:
                number, inner = self._number(parameter, variable, value)
                yield parameter, number
                todo.extend(inner)

    def _number(
        self, parameter: Parameter, variable: Variable, value: Any
    ) -> tuple[Any, list[Variable]]:
        return parameter.number(variable, value)

    def random_point(self) -> Point:
        """Return a number for each parameter, drawn at random."""
        numbers: dict[str, float] = {}
        for parameter in self.parameters:
            low, high = parameter.scaled_bounds
            numbers[parameter.name] = low + self._stream.uniform() * (high - low)
        return self.unscaled(numbers)

    def scaled(self, point: Point) -> dict[str, float]:
        """Convert a point to the scales of `Parameter.scaled_bounds`."""
        return {p.name: p.scaled(point[p.name]) for p in self.parameters}

    def unscaled(self, numbers: Mapping[str, Any]) -> Point:
        """Make a point of numbers on the scales of `Parameter.scaled_bounds`."""
        return self.rounded({p.name: p.unscaled(float(numbers[p.name])) for p in self.parameters})

    def rounded(self, numbers: Mapping[str, Any]) -> Point:
        """Make a point of numbers: clip them to the bounds, and round those that must be ints."""
        point: Point = {}
        for p in self.parameters:
            number = min(max(float(numbers[p.name]), p.low), p.high)
            point[p.name] = number if p.kind == "float" else round(number)
        return point


def lookup(config: Any, path: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether a config has a value at a path, and the value; "a/b" keys are understood."""
    if not path:
        return True, config
    if isinstance(config, list | tuple):
        index = path[0]
        inside = isinstance(index, int) and index < len(config)
        return lookup(config[index], path[1:]) if inside else (False, None)
    if isinstance(config, Mapping):
        for length in range(1, len(path) + 1):
            key = path[0] if length == 1 else "/".join(map(str, path[:length]))
            if key in config:
                return lookup(config[key], path[length:])
    return False, None
