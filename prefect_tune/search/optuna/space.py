"""How a search space is put to an Optuna study.

Three kinds of spaces, one interface: a space in this package's terms, a dict of Optuna
distributions, and a define-by-run function.
"""

from __future__ import annotations

import itertools
import logging
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from prefect_tune.error import InvalidArgument
from prefect_tune.search.parameter_space import lookup
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
    leaves,
    random_draw,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

logger = logging.getLogger(__name__)

Params = dict[str, Any]
Distributions = dict[str, BaseDistribution]


class OptunaSpace(Protocol):
    """A search space that can make a config of an Optuna trial."""

    def config(self, trial: Trial) -> dict[str, Any]:
        """Return the config made from a trial's parameters, which are asked for if need be."""

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """Return the parameters, as the study knows them, of a (partial) config.

        Raises:
            InvalidArgument: ``point`` does not lie in the space.
        """

    def config_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Return the config of a trial that was enqueued with the parameters of ``point``.

        It has the values of the point as they are, also those that the study cannot express
        (constants, and numbers beside the steps of their domain).
        """

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Says which values of ``point`` lie outside of their domains, unless Optuna will."""


class DefineByRun:
    """A function that calls ``trial.suggest_float(...)`` and the like.

    Args:
        func: May return a dict of constants that are added to the config. Parameter names with
            "/" become nested dicts.
    """

    def __init__(self, func: Callable[[Trial], dict[str, Any] | None]) -> None:
        self._func = func

    def config(self, trial: Trial) -> dict[str, Any]:
        """Runs the function on the trial."""
        constants = self._func(trial)
        if constants is not None and not isinstance(constants, dict):
            raise InvalidArgument(
                "space",
                "a define-by-run function must return None or a dict of constants, got "
                f"{type(constants).__name__}.",
            )
        return nested({**trial.params, **(constants or {})})

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """The flat parameters; their distributions are not known before the function runs."""
        return leaves(dict(point)), {}

    def config_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Runs the function; values of the point replace its constants."""
        config, given = leaves(self.config(trial)), leaves(dict(point))
        unused = [name for name in given if name not in config]
        if unused:
            logger.warning(
                "points_to_evaluate: the define-by-run function has no parameter %s at %r; the "
                "point is tried without",
                ", ".join(map(repr, unused)),
                dict(point),
            )
        return nested({name: given.get(name, value) for name, value in config.items()})

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Nothing: only the function knows the domains."""


class DistributionDict:
    """A dict from parameter names ("a/b" for nested ones) to Optuna distributions.

    Args:
        distributions: The dict.
        known: The distributions that the study has already.
    """

    def __init__(self, distributions: Distributions, known: Distributions) -> None:
        self._distributions = distributions
        used: Distributions = {}
        self._names = {n: _free_name(n, d, used, known) for n, d in distributions.items()}

    def config(self, trial: Trial) -> dict[str, Any]:
        """Asks for all parameters."""
        return nested(
            {
                name: suggest(trial, self._names[name], distribution)
                for name, distribution in self._distributions.items()
            }
        )

    def config_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Return the same: the study has all values of the point."""
        return self.config(trial)

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Nothing: Optuna warns of them."""

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """Return the flat parameters."""
        params = leaves(dict(point))
        unknown = [name for name in params if name not in self._distributions]
        if unknown:
            raise InvalidArgument(
                "points_to_evaluate",
                f"{unknown[0]!r} is not in the search space.",
                f"It has {', '.join(map(repr, self._distributions))}.",
            )
        for name, value in params.items():
            _check_value(name, value, self._distributions[name])
        names = self._names
        return (
            {names[name]: value for name, value in params.items()},
            {names[name]: self._distributions[name] for name in params},
        )


class DomainSpace:
    """A space in this package's terms; conditional parameters are asked for when they exist.

    Args:
        space: The parsed space.
        random_state: Draws what Optuna cannot know: domains that functions return.
        known: The distributions that the study has already.
    """

    def __init__(
        self, space: SearchSpace, random_state: Any = None, known: Distributions | None = None
    ) -> None:
        self._space = space
        self._random_state = random_state
        self._known = known or {}
        self._draw_unknown = random_draw(random_state)
        self._parameters = _parameters(space, self._known)

    def __reduce__(self) -> tuple[type[DomainSpace], tuple[SearchSpace, Any, Distributions]]:
        return type(self), (self._space, self._random_state, self._known)

    def config(self, trial: Trial) -> dict[str, Any]:
        """Resolves the space with the study's suggestions."""

        def draw(variable: Variable) -> Any:
            parameter = self._parameters.get(variable)
            return parameter.suggest(trial) if parameter else self._draw_unknown(variable)

        return next(self._space.variants(draw))

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """Return the study's parameters for the values in ``point``."""
        self._space.with_preset(point, warn=False)  # rejects unknown keys
        params: Params = {}
        distributions: Distributions = {}
        todo = list(self._space.variables)
        while todo:
            variable = todo.pop(0)
            found, value = lookup(point, variable.path)
            if not found or variable not in self._parameters:
                continue
            parameter = self._parameters[variable]
            params[parameter.name], inner = parameter.encode(variable, value)
            distributions[parameter.name] = parameter.distribution
            todo.extend(inner)
        return params, distributions

    def config_at(self, point: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
        """Return the values of the point, and the study's suggestions for the others."""
        for name, distribution in self.encode(point)[1].items():
            suggest(trial, name, distribution)
        others = self._space.with_preset(point, warn=False)
        return DomainSpace(others, self._random_state, self._known).config(trial)

    def warn_of(self, point: Mapping[str, Any]) -> None:
        """Says which values of a point lie outside of their domains."""
        self._space.with_preset(point)


@dataclass(frozen=True)
class _Parameter:
    """A variable of the space as a parameter of the study.

    Attributes:
        name: The variable's path; "path@2" where different branches of a conditional space have
            different distributions at the same path, or where the study has another one there.
        distribution: Optuna's description of the values.
        domain: Ours.
        by_index: Whether the study sees the index of a category, because Optuna can store only
            plain values.
    """

    name: str
    distribution: BaseDistribution
    domain: Domain
    by_index: bool

    def suggest(self, trial: Trial) -> Any:
        """Asks the study for a value."""
        value = suggest(trial, self.name, self.distribution)
        if isinstance(self.distribution, CategoricalDistribution):
            categories = self.domain.categories  # type: ignore[attr-defined]
            return categories[value] if self.by_index else value
        sampler = self.domain.get_sampler()
        # Optuna has no steps in log space, and does not clean up the digits of a step.
        return self.domain.round_to(sampler.q)(value) if isinstance(sampler, Quantized) else value

    def encode(self, variable: Variable, value: Any) -> tuple[Any, list[Variable]]:
        """The study's value for a value of the config, and the variables that lie inside of it."""
        if not isinstance(self.domain, Categorical):
            _check_value(variable.name, value, self.distribution)
            return value, []
        for index, category in enumerate(self.domain.categories):
            if could_be(category, value):
                template = variable.template_of(category)
                inner = template.variables if template else []
                return (index if self.by_index else category), inner
        raise InvalidArgument(
            "points_to_evaluate",
            f"{value!r} is not a possible value of {variable.name!r}.",
            f"Possible are {self.domain.domain_str}.",
        )


def _check_value(name: str, value: Any, distribution: BaseDistribution) -> None:
    """Refuses values of a point that the study has no place for."""
    if isinstance(distribution, CategoricalDistribution):
        if value not in distribution.choices:
            raise InvalidArgument(
                "points_to_evaluate",
                f"{value!r} is not a possible value of {name!r}.",
                f"Possible are {', '.join(map(repr, distribution.choices))}.",
            )
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InvalidArgument(
            "points_to_evaluate", f"{name!r} is {value!r}.", "It has to be a finite number."
        )
    if getattr(distribution, "log", False) and value <= 0:
        raise InvalidArgument(
            "points_to_evaluate",
            f"{name!r} is {value!r}.",
            "It is searched by its logarithm, so it has to be above 0.",
        )


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return the value of one parameter of an Optuna trial, asked for unless it has one."""
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


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a/b": 1}`` as ``{"a": {"b": 1}}``."""
    result: dict[str, Any] = {}
    for name, value in params.items():
        *parents, last = name.split("/")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        known = target.get(last)
        if isinstance(known, dict) and isinstance(value, dict):
            # A constant {"a": {"c": 2}} stands beside a parameter "a/b".
            value = nested({**leaves(known), **leaves(value)})
        target[last] = value
    return result


def _parameters(space: SearchSpace, known: Distributions) -> dict[Variable, _Parameter]:
    parameters: dict[Variable, _Parameter] = {}
    used: Distributions = {}
    for variable in space.walk():
        if variable.domain is None or variable.function is not None:
            continue
        distribution, by_index = _distribution(variable.name, variable.domain)
        name = _free_name(variable.name, distribution, used, known)
        parameters[variable] = _Parameter(name, distribution, variable.domain, by_index)
    return parameters


def distributions_of(space: SearchSpace) -> Distributions:
    """Return the distributions of a space in which no parameter depends on another one.

    Raises:
        InvalidArgument: If one does, or has no distribution.
    """
    found: Distributions = {}
    for variable in space.variables:
        if variable.domain is None or variable.function is not None or variable.nests_variables:
            raise InvalidArgument(
                "spec",
                f"what is at {variable.name!r} is no distribution that stands for itself.",
                "Grids, functions, and choices that hold domains have none in Optuna.",
            )
        distribution, by_index = _distribution(variable.name, variable.domain)
        if by_index and isinstance(variable.domain, Categorical):
            distribution = CategoricalDistribution(variable.domain.categories)
        found[variable.name] = distribution
    return found


def _free_name(
    path: str, distribution: BaseDistribution, used: Distributions, known: Distributions
) -> str:
    """Return a parameter name that stands for one distribution only.

    Args:
        path: The name if nothing speaks against it; else it is followed by "@2" and so on.
        distribution: What it is to stand for.
        used: The distributions of this space so far; the new one is added.
        known: What names stand for in the study, in which they cannot change their kind or
            choices any more (but their bounds can).
    """
    for number in itertools.count(1):
        name = path if number == 1 else f"{path}@{number}"
        if name in used:
            if used[name] == distribution:
                return name
        elif name not in known or _are_compatible(known[name], distribution):
            break
    used[name] = distribution
    return name


def _are_compatible(one: BaseDistribution, other: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True


def _distribution(name: str, domain: Domain) -> tuple[BaseDistribution, bool]:
    if isinstance(domain, Categorical):
        plain = all(isinstance(c, str | int | float | None) for c in domain.categories)
        # 1 and True, or a value given twice for more weight, are one choice for Optuna.
        distinct = plain and len(set(domain.categories)) == len(domain.categories)
        choices = domain.categories if distinct else range(len(domain))
        return CategoricalDistribution(list(choices)), not distinct
    if not isinstance(domain, Float | Integer) or domain.has_sampler(Normal):
        raise InvalidArgument(
            "param_space",
            f"OptunaSearch has no distribution for {domain!r} with {domain.get_sampler()!r} at "
            f"{name!r}.",
            "Use uniform, loguniform, randint, lograndint, their q variants, or choice.",
        )
    sampler, log = domain.get_sampler(), domain.has_sampler(LogUniform)
    q = sampler.q if isinstance(sampler, Quantized) and not log else None
    if isinstance(domain, Float):
        return FloatDistribution(domain.lower, domain.upper, step=q, log=log), False
    low, high = domain.inclusive_bounds()
    return IntDistribution(low, high, step=int(q or 1), log=log), False
