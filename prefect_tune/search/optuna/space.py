"""Search spaces for Optuna studies.

There are two kinds of spaces with one interface: a space of domains, and a define-by-run function.
A dict of Optuna's distributions is treated as a space of domains.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import flatten_config, unflatten_dict
from prefect_tune.search.parameter_space import Parameter, ParameterSpace
from prefect_tune.space import (
    Categorical,
    Domain,
    Float,
    Normal,
    SearchSpace,
    Variable,
)
from prefect_tune.space.random import Stream
from prefect_tune.validation import is_number

if TYPE_CHECKING:
    from optuna.trial import Trial

logger = logging.getLogger(__name__)

Params = dict[str, Any]
Distributions = dict[str, BaseDistribution]


class DefineByRun:
    """A space defined by a function that calls ``trial.suggest_float(...)`` and similar methods.

    Args:
        func: May return a dict of constants that are added to the config. Parameter names with
            "/" become nested dicts.
    """

    def __init__(self, func: Callable[[Trial], dict[str, Any] | None]) -> None:
        self._func = func

    def suggested(self, trial: Trial) -> dict[str, Any]:
        """Call the function with the trial and return the config."""
        return unflatten_dict(self._leaves(trial))

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """Return the flattened parameters; distributions are known only after the function ran."""
        return flatten_config(point), {}

    def suggested_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Call the function, and replace its constants by values of the point."""
        config, given = self._leaves(trial), flatten_config(point)
        unused = [name for name in given if name not in config]
        if unused:
            logger.warning(
                "points_to_evaluate: the define-by-run function has no parameter %s at %r; the "
                "point is tried without",
                ", ".join(map(repr, unused)),
                dict(point),
            )
        return unflatten_dict({name: given.get(name, value) for name, value in config.items()})

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Do nothing, since only the function knows the domains."""

    def _leaves(self, trial: Trial) -> dict[str, Any]:
        constants = self._func(trial)
        if constants is not None and not isinstance(constants, dict):
            raise InvalidArgument(
                "space",
                "a define-by-run function must return None or a dict of constants, got "
                f"{type(constants).__name__}.",
            )
        return flatten_config({**trial.params, **(constants or {})})


class DomainSpace(ParameterSpace):
    """A space of domains; conditional parameters are asked for when they exist.

    Where different branches of a conditional space have different distributions at the same path,
    or where the study has another one there, names are followed by "@2" and so on.

    Args:
        space: The parsed space.
        stream: Draws what Optuna cannot know: domains that functions return.
        known: What names stand for in the study, in which they cannot change their kind or
            choices any more (but their bounds can).
    """

    def __init__(self, space: SearchSpace, stream: Stream, known: Distributions) -> None:
        self._known = known
        super().__init__(space, "OptunaSearch", stream)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.space, self._stream, self._known)

    def _parameter(self, name: str, domain: Domain) -> Parameter:
        if isinstance(domain, GivenDistribution):
            return Parameter(name, "float", 0, 1, False, 0, 0, domain)
        return super()._parameter(name, domain)

    def _may_share(self, there: Parameter | None, parameter: Parameter) -> bool:
        distribution = distribution_of(parameter)
        if there is not None:
            return distribution_of(there) == distribution
        known = self._known.get(parameter.name)
        return known is None or _are_compatible(known, distribution)

    def suggested(self, trial: Trial) -> dict[str, Any]:
        """Return a config of the space with the study's suggestions."""
        return self.resolved(lambda p: _value(p, suggest(trial, p.name, distribution_of(p))))

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """Return the study's parameters for the values in ``point``."""
        found = list(self._numbers(point))
        params = {parameter.name: value for parameter, value in found}
        return params, {parameter.name: distribution_of(parameter) for parameter, _ in found}

    def _number(
        self, parameter: Parameter, variable: Variable, value: Any
    ) -> tuple[Any, list[Variable]]:
        """Return the study's value for a config's value, which may be out of the distribution."""
        domain, distribution = parameter.domain, distribution_of(parameter)
        if isinstance(domain, Categorical):
            index, inner = parameter.number(variable, value)
            return _choices(domain)[index], inner
        if domain.has_sampler(Normal):
            return parameter.number(variable, value)
        _check_value(variable.name, value, distribution)
        return value, []

    def suggested_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Return the config with the point's values, and the study's suggestions for others."""
        for name, distribution in self.encode(point)[1].items():
            suggest(trial, name, distribution)
        others = self.space.with_preset(point, warn=False)
        return DomainSpace(others, self._stream, self._known).suggested(trial)

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Log which values of a point are outside of their domains."""
        self.space.with_preset(point)


#: A search space that makes the configs of Optuna trials.
OptunaSpace = DefineByRun | DomainSpace


class GivenDistribution(Domain):
    """A domain with one of Optuna's own distributions; only a study draws from it."""

    def __init__(self, distribution: BaseDistribution) -> None:
        super().__init__()
        self.distribution = distribution

    def is_valid(self, value: Any) -> bool:
        """Return True, since Optuna warns of values outside of the distribution."""
        return True

    def linear_quantile(self) -> Callable[[float], Any]:
        """Return a placeholder, since only a study draws values."""
        return float

    @property
    def domain_str(self) -> str:
        """The distribution as text."""
        return f"({self.distribution})"


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution for a parameter; a normal one becomes a probability."""
    domain, low, high = parameter.domain, parameter.low, parameter.high
    if isinstance(domain, GivenDistribution):
        return domain.distribution
    if isinstance(domain, Categorical):
        return CategoricalDistribution(_choices(domain))
    if parameter.step:
        low, high = parameter.first, parameter.value(high)
    if isinstance(domain, Float):
        return FloatDistribution(low, high, step=parameter.step or None, log=parameter.log)
    return IntDistribution(low, high, step=int(parameter.step or 1), log=parameter.log)


def distributions_of(space: SearchSpace) -> Distributions:
    """Return the distributions of a space in which no parameter depends on another one.

    Raises:
        InvalidArgument: If one does, or has no distribution.
    """
    found: Distributions = {}
    for variable in space.variables:
        domain = variable.domain
        if (
            domain is None
            or domain.is_function()
            or domain.has_sampler(Normal)
            or variable.nests_variables
        ):
            raise InvalidArgument(
                "spec",
                f"Optuna has no distribution for the parameter {variable.name!r}.",
                "Grids, functions, normal distributions, and choices that hold domains have none "
                "in Optuna.",
            )
        if isinstance(domain, Categorical):
            found[variable.name] = CategoricalDistribution(domain.categories)
        else:
            found[variable.name] = distribution_of(
                Parameter.of(variable.name, domain, "OptunaSearch")
            )
    return found


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return the value of a parameter of an Optuna trial, suggested by Optuna if it is new."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    raise TypeError(f"unexpected distribution {distribution!r}")


def _choices(domain: Categorical) -> list[Any]:
    """Return the study's choices for a categorical domain: its values, or else their indices."""
    plain = all(isinstance(c, str | int | float | None) for c in domain.categories)
    # 1 and True, or a value given twice for more weight, are one choice for Optuna.
    distinct = plain and len(set(domain.categories)) == len(domain.categories)
    return domain.categories if distinct else list(range(len(domain)))


def _value(parameter: Parameter, found: Any) -> Any:
    """Convert a value of the study to the value in the config."""
    domain = parameter.domain
    if isinstance(domain, GivenDistribution):
        return found
    if isinstance(domain, Categorical):
        return found if _choices(domain) is domain.categories else domain.categories[found]
    return parameter.value((found - parameter.first) / parameter.step if parameter.step else found)


def _check_value(name: str, value: Any, distribution: BaseDistribution) -> None:
    """Check that the study can express a value of a point."""
    if isinstance(distribution, CategoricalDistribution):
        if value not in distribution.choices:
            raise InvalidArgument(
                "points_to_evaluate",
                f"{value!r} is not a possible value of {name!r}.",
                f"Possible are {', '.join(map(repr, distribution.choices))}.",
            )
        return
    if not is_number(value) or not math.isfinite(value):
        raise InvalidArgument(
            "points_to_evaluate", f"{name!r} is {value!r}.", "It has to be a finite number."
        )
    if getattr(distribution, "log", False) and value <= 0:
        raise InvalidArgument(
            "points_to_evaluate",
            f"{name!r} is {value!r}.",
            "It is searched by its logarithm, so it has to be above 0.",
        )


def _are_compatible(one: BaseDistribution, other: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True
