"""`SearchSpace`: make the configurations of trials from a user's search space.

Behaviour reference: variant generation of Ray Tune 2.0. All values of a variant are decided in
this order:

1. Grid variables, sorted by path; the first one varies fastest.
2. Domains, drawn anew for each grid point (once per sample with ``constant_grid_search``).
3. Variables inside of values chosen in 1 and 2, in the same way.
4. Functions and expressions, each as soon as all values it reads are known. What they return may
   hold variables again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import flatten_config
from prefect_tune.space.categorical import Function
from prefect_tune.space.domain import Domain
from prefect_tune.space.random import RandomState, uniform_numbers
from prefect_tune.space.samplers import Quantile
from prefect_tune.space.template import Draw, Path, Template, Variable, is_variable, path_name
from prefect_tune.space.views import SpecView, UnresolvedAccess, without_views

logger = logging.getLogger(__name__)

_MAX_PASSES = 1000


class RecursiveDependencyError(ValueError):
    """An error: functions of the search space depend on each other's values."""


class SearchSpace:
    """A parsed search space, which makes configurations.

    Args:
        space: Parameter names mapped to constants, domains, grids, and dicts, lists or tuples of
            those; or an object with a ``to_dict()`` method that returns one. A grid of whole
            configs, ``grid_search([{...}, {...}])``, is a space, too.

    Raises:
        InvalidArgument: ``space`` is not a dict, or something in it is malformed.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        if not isinstance(space, dict) and callable(getattr(space, "to_dict", None)):
            space = space.to_dict()  # type: ignore[attr-defined]
        if not isinstance(space, dict) or (is_variable(space) and not _is_grid_of_configs(space)):
            raise InvalidArgument(
                "param_space",
                f"the search space must be a dict, got {type(space).__name__}: {space!r:.200}.",
                "Write {'parameter': value or domain, ...}.",
            )
        self.space: dict[str, Any] = space
        self._template = Template(space)
        #: Whether configs have nothing but values of variables.
        self._is_drawn = [v.name for v in self.variables if not v.nests_variables] == list(space)

    def __reduce__(self) -> tuple[type[SearchSpace], tuple[dict[str, Any]]]:
        return type(self), (self.space,)

    @property
    def variables(self) -> list[Variable]:
        """The variables, without those inside of other variables' values."""
        return self._template.variables

    def walk(self) -> Iterator[Variable]:
        """Yield all variables, including those inside of other variables' values."""
        return self._template.walk()

    @property
    def grid_size(self) -> int:
        """The number of variants in one sample, without grids inside of chosen values."""
        return self._template.grid_size()

    def quantiles(self) -> list[tuple[str, Quantile]] | None:
        """Return the name and quantile function of each variable; None if there is more to draw.

        There is not if the space is a dict of variables that are drawn and used as they are.
        """
        if not (self._is_drawn and self._template.is_plain and type(self.space) is dict):
            return None
        return [(variable.name, variable.quantile) for variable in self.variables]

    def variants(self, draw: Draw, constant_grid_search: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the configs of one sample: one for each grid point.

        Args:
            draw: Decides the value of a variable that is neither a grid nor computed; see
                `random_draw`.
            constant_grid_search: Draw domains once instead of anew for each grid point.

        Raises:
            RecursiveDependencyError: Functions depend on each other in a circle.
            ValueError: A function of the space failed.
        """
        if self._template.is_plain:
            return map(self._template.draw, (draw,))
        return self._expand({}, draw, constant_grid_search)

    def _expand(
        self, decisions: dict[Variable, _Decision], draw: Draw, constant: bool
    ) -> Iterator[dict[str, Any]]:
        draft = _Draft(self._template, decisions)
        if constant or not draft.grids:
            draft.resolve(draw)
        if not draft.grids:
            yield draft.finish()
            return
        # product() varies its last factor fastest, and the first path is to vary fastest.
        grids = sorted(draft.grids, key=lambda variable: variable.sort_key, reverse=True)
        for point in itertools.product(*(variable.grid or () for variable in grids)):
            chosen = {
                variable: _Decision(value, variable.template_of(value))
                for variable, value in zip(grids, point, strict=True)
            }
            yield from self._expand({**draft.decisions, **chosen}, draw, constant)

    def with_preset(self, preset: Mapping[str, Any], warn: bool = True) -> SearchSpace:
        """Return a copy of the space with some values fixed.

        Args:
            preset: Nested like the space, or with "a/b" for nested keys. It may name any subset
                of the parameters, and override constants.
            warn: Whether to say which values lie outside of their domains.

        Raises:
            InvalidArgument: ``preset`` names a key that the space does not have.
        """
        if not isinstance(preset, Mapping):
            raise InvalidArgument(
                "points_to_evaluate", f"each point must be a dict, got {type(preset).__name__}."
            )
        return SearchSpace(_substitute(self.space, preset, (), warn))

    def describe(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the variables in a finished config, by path ("a/b/0").

        A variable of which some values hold further variables is listed through the leaves of
        the value it has.
        """
        if self._is_drawn:
            return dict(config)
        result: dict[str, Any] = {}
        for variable in self.variables:
            value: Any = config
            for key in variable.path:
                value = value[key]
            if variable.nests_variables or not variable.path:
                result |= flatten_config({variable.name: value} if variable.path else value)
            else:
                result[variable.name] = value
        return result


def _is_grid_of_configs(space: dict[str, Any]) -> bool:
    grid = space.get("grid_search")
    return isinstance(grid, list) and all(isinstance(config, dict) for config in grid)


def random_draw(random_state: RandomState) -> Draw:
    """Return a function that draws each variable independently from its own distribution."""
    uniform = uniform_numbers(random_state)

    return lambda variable: variable.quantile(uniform())


class _Decision(NamedTuple):
    value: Any
    # Kept with the value: variables inside of it are told apart by identity.
    template: Template | None


class _Pending(NamedTuple):
    variable: Variable
    container: Any
    key: Any


class _Draft:
    """A config in the making: variables are resolved step by step.

    Args:
        template: The whole space.
        decisions: Values that are decided already. Expanding a grid point starts a new draft
            with what was decided before it.
    """

    def __init__(self, template: Template, decisions: dict[Variable, _Decision]) -> None:
        self.decisions = dict(decisions)
        self.grids: list[Variable] = []
        self._drawn: list[_Pending] = []
        self._computed: list[tuple[_Pending, Function]] = []
        self._frozen: list[tuple[Template, list[Any], Any]] = []
        self._box: list[Any] = [None]
        self._open(template, self._box, 0)

    def resolve(self, draw: Draw) -> None:
        """Draw and compute all variables that do not depend on a grid."""
        # Each pass computes at least one function; only one that returns functions for ever
        # reaches the limit, and then `finish` says which.
        for _ in range(_MAX_PASSES):
            while self._drawn:
                pending, self._drawn = self._drawn, []
                for place in pending:
                    self._decide(place, draw(place.variable))
            if not self._compute():
                break

    def finish(self) -> dict[str, Any]:
        """Return the config, after a check that all functions have been computed."""
        if self._computed:
            names = ", ".join(repr(place.variable.name) for place, _ in self._computed)
            raise RecursiveDependencyError(
                f"the functions of the search space at {names} wait for each other's values (or "
                "for their own); make one of them independent of the others"
            )
        for template, containers, key in reversed(self._frozen):
            template.freeze_tuples(containers, key)
        config: dict[str, Any] = self._box[0]
        return config

    def _open(self, template: Template, container: Any, key: Any) -> None:
        """Put an instance of a template at ``container[key]`` and register its variables."""
        containers = template.instantiate(container, key)
        if template.has_tuples:
            self._frozen.append((template, containers, key))
        for variable in template.variables:
            place = _Pending(
                variable, containers[variable.node], variable.slot if variable.node else key
            )
            if variable in self.decisions:
                self._fill(place, *self.decisions[variable])
            elif variable.grid is not None:
                self.grids.append(variable)
            elif variable.function is not None:
                self._computed.append((place, variable.function))
            else:
                self._drawn.append(place)

    def _decide(self, place: _Pending, value: Any) -> None:
        template = place.variable.template_of(value)
        self.decisions[place.variable] = _Decision(value, template)
        self._fill(place, value, template)

    def _fill(self, place: _Pending, value: Any, template: Template | None) -> None:
        if template is None:
            place.container[place.key] = value
        else:
            self._open(template, place.container, place.key)

    def _compute(self) -> bool:
        """Call each waiting function once; return True if one had all values that it reads."""
        waiting, self._computed = self._computed, []
        spec = SpecView(self._box[0], is_variable)
        progress = False
        for place, function in waiting:
            try:
                value = without_views(function.sample(spec))
            except UnresolvedAccess:
                self._computed.append((place, function))
                continue
            except Exception as error:
                raise ValueError(
                    f"the function of the search space at {place.variable.name!r} failed: "
                    f"{type(error).__name__}: {error}"
                ) from error
            progress = True
            self._decide(place, value)
        return progress


def _substitute(space: Any, preset: Any, path: Path, warn: bool) -> Any:
    if warn and isinstance(space, Domain) and not space.is_valid(preset):
        logger.warning(
            "points_to_evaluate: %r is outside of %r, the domain of %r; it is tried as given",
            preset,
            space,
            path_name(path),
        )
    if is_variable(space) or not isinstance(space, dict) or not space:
        return preset
    if not isinstance(preset, Mapping):
        raise InvalidArgument(
            "points_to_evaluate",
            f"{path_name(path)!r} is a dict in the search space, but the point has {preset!r}.",
        )
    result = dict(space)
    for key, value in preset.items():
        inner: Any = value
        if key not in space and isinstance(key, str) and "/" in key:
            key, _, rest = key.partition("/")
            inner = {rest: value}
        if key not in space:
            known = ", ".join(repr(path_name((*path, name))) for name in space)
            raise InvalidArgument(
                "points_to_evaluate",
                f"{path_name((*path, key))!r} is not in the search space.",
                f"It has {known}.",
            )
        result[key] = _substitute(result[key], inner, (*path, key), warn)
    return result
