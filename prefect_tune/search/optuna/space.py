"""How a search space is put to an Optuna study.

Three kinds of spaces, one interface: a space in this package's terms, a dict of Optuna
distributions, and a define-by-run function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

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
    leaves,
    random_draw,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

Params = dict[str, Any]
Distributions = dict[str, BaseDistribution]


class OptunaSpace(Protocol):
    """A search space that can make a config of an Optuna trial."""

    def config(self, trial: Trial) -> dict[str, Any]:
        """The config made from a trial's parameters, which are asked for if need be."""

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """The parameters, as the study knows them, of a (partial) config.

        Raises:
            InvalidArgument: ``point`` does not lie in the space.
        """


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


class DistributionDict:
    """A dict from parameter names ("a/b" for nested ones) to Optuna distributions."""

    def __init__(self, distributions: Distributions) -> None:
        self._distributions = distributions

    def config(self, trial: Trial) -> dict[str, Any]:
        """Asks for all parameters."""
        for name, distribution in self._distributions.items():
            suggest(trial, name, distribution)
        return nested(trial.params)

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """The flat parameters."""
        params = leaves(dict(point))
        unknown = [name for name in params if name not in self._distributions]
        if unknown:
            raise InvalidArgument(
                "points_to_evaluate",
                f"{unknown[0]!r} is not in the search space.",
                f"It has {', '.join(map(repr, self._distributions))}.",
            )
        return params, {name: self._distributions[name] for name in params}


class DomainSpace:
    """A space in this package's terms; conditional parameters are asked for when they exist.

    Args:
        space: The parsed space.
        random_state: Draws what Optuna cannot know: domains that functions return.
    """

    def __init__(self, space: SearchSpace, random_state: Any = None) -> None:
        self._space = space
        self._random_state = random_state
        self._draw_unknown = random_draw(random_state)
        self._parameters = _parameters(space)

    def __reduce__(self) -> tuple[type[DomainSpace], tuple[SearchSpace, Any]]:
        return type(self), (self._space, self._random_state)

    def config(self, trial: Trial) -> dict[str, Any]:
        """Resolves the space with the study's suggestions."""

        def draw(variable: Variable) -> Any:
            parameter = self._parameters.get(variable)
            return parameter.suggest(trial) if parameter else self._draw_unknown(variable)

        return next(self._space.variants(draw))

    def encode(self, point: Mapping[str, Any]) -> tuple[Params, Distributions]:
        """The study's parameters for the values in ``point``."""
        self._space.with_preset(point)  # rejects unknown keys
        params: Params = {}
        distributions: Distributions = {}
        todo = list(self._space.variables)
        while todo:
            variable = todo.pop(0)
            found, value = _lookup(point, variable.path)
            if not found or variable not in self._parameters:
                continue
            parameter = self._parameters[variable]
            params[parameter.name], inner = parameter.encode(variable, value)
            distributions[parameter.name] = parameter.distribution
            todo.extend(inner)
        return params, distributions


@dataclass(frozen=True)
class _Parameter:
    """A variable of the space as a parameter of the study.

    Attributes:
        name: The variable's path; "path@2" where different branches of a conditional space have
            different distributions at the same path.
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


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """The value of one parameter of an Optuna trial, asked for unless it has one."""
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
        target[last] = value
    return result


def _parameters(space: SearchSpace) -> dict[Variable, _Parameter]:
    parameters: dict[Variable, _Parameter] = {}
    at_path: dict[str, list[BaseDistribution]] = {}
    for variable in space.walk():
        if variable.domain is None or variable.function is not None:
            continue
        distribution, by_index = _distribution(variable.name, variable.domain)
        known = at_path.setdefault(variable.name, [])
        if distribution not in known:
            known.append(distribution)
        number = known.index(distribution)
        name = f"{variable.name}@{number + 1}" if number else variable.name
        parameters[variable] = _Parameter(name, distribution, variable.domain, by_index)
    return parameters


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


def _lookup(point: Any, path: tuple[Any, ...]) -> tuple[bool, Any]:
    """Finds a nested value, also in a point that uses "a/b" keys at some level."""
    if not path:
        return True, point
    if isinstance(point, list | tuple):
        index = path[0]
        inside = isinstance(index, int) and index < len(point)
        return _lookup(point[index], path[1:]) if inside else (False, None)
    if isinstance(point, Mapping):
        for length in range(1, len(path) + 1):
            key = path[0] if length == 1 else "/".join(map(str, path[:length]))
            if key in point:
                return _lookup(point[key], path[length:])
    return False, None
