"""`NevergradSearch`: optimisers of the library nevergrad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import unflatten_dict
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, number_domain
from prefect_tune.search.parameter_space import Parameter, ParameterSpace, Point
from prefect_tune.space import RandomState, choice, uniform

#: Bound of a number that has none in nevergrad, where domains are finite.
_HUGE = 1e9


class NevergradSearch(LibrarySearcher):
    """Suggests with an optimiser of nevergrad, gradient-free and often evolutionary.

    nevergrad pins an old version of bayesian-optimization: it cannot be installed together with
    what `BayesOptSearch` needs.

    Args:
        optimizer: Name of the optimiser in nevergrad's registry, or one of its classes, such as
            ``ng.optimizers.NGOpt``, which chooses by itself; default "OnePlusOne". (Some of what
            NGOpt may choose in nevergrad 1.0.12 fails with numpy 2.4.) Or an optimiser, which has a
            space, a budget and a seed.
        optimizer_kwargs: Further arguments of the class. ``num_workers`` is 8 by default, and 1 for
            optimisers that evaluate one point after another, which bound the number of running
            trials to it; ``budget`` is the experiment's ``num_samples``, or 100.
        space: The search space, or an ``ng.p.Dict``; None to take the experiment's ``param_space``.
            With an optimiser of an array, the names of its elements; otherwise None.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        seed: Seed.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "nevergrad"
    extra = "nevergrad"

    def __init__(
        self,
        optimizer: Any = "OnePlusOne",
        optimizer_kwargs: Mapping[str, Any] | None = None,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: RandomState = None,
    ) -> None:
        ng = self.load_library()
        if isinstance(optimizer_kwargs, list | tuple) and space is None:
            # Ray Tune's older order of arguments.
            optimizer_kwargs, space = None, optimizer_kwargs
        self._given = optimizer if isinstance(optimizer, ng.optimizers.base.Optimizer) else None
        self._names: list[str] = []
        #: The user's description of the space in nevergrad's form.
        self._parametrization: Any = None
        if self._given is not None:
            self._parametrization = self._given.parametrization
            self._names = list(space or ())
        elif isinstance(space, ng.p.Parameter):
            self._parametrization = space
        if self._parametrization is not None:
            space = _domains_of(self._parametrization, self._names)
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._make: Any = self._factory(optimizer) if self._given is None else None
        in_turn = getattr(self._make, "no_parallelization", False)
        self._optimizer_kwargs = {"num_workers": 1 if in_turn else 8, **(optimizer_kwargs or {})}
        self._optimizer: Any = None

    def _factory(self, optimizer: Any) -> Any:
        registry = self.load_library().optimizers.registry
        if callable(optimizer):
            return optimizer
        if not isinstance(optimizer, str) or optimizer not in registry:
            raise InvalidArgument(
                "optimizer",
                f"got {optimizer!r:.200}.",
                "Give a class of ng.optimizers, a name in ng.optimizers.registry, or an optimizer.",
            )
        return registry[optimizer]

    def _checked(self, space: ParameterSpace, preset: dict[str, Any]) -> Point | None:
        if self._names:
            space.point(preset, whole=True)  # what is missing cannot be drawn without bounds
        return super()._checked(space, preset)

    def _begin(self, parameters: list[Parameter]) -> None:
        if self._given is not None:
            self._optimizer = self._given
            return
        parametrization = self._parametrization
        if parametrization is None:
            p = self.load_library().p
            parametrization = p.Dict(**{one.name: _instrument(p, one) for one in parameters})
        parametrization.random_state = np.random.RandomState(self._new_seed())
        # Some of nevergrad's optimisers require a budget.
        budget = self._num_samples if self._num_samples > 0 else 100
        options = {"budget": budget, **self._optimizer_kwargs}
        self._optimizer = self._make(parametrization=parametrization, **options)

    def _ask(self, trial_id: str) -> Asked | None:
        # Optimisers that evaluate in turn would block here, and so the experiment.
        if len(self._running) >= self._optimizer.num_workers and _is_in_turn(self._optimizer):
            return None
        candidate = self._optimizer.ask()
        space = self._start()
        if self._parametrization is None:
            return Asked(candidate, space.rounded(candidate.value))
        return Asked(candidate, space.point(_config_of(candidate, self._names)))

    def _attach(self, trial_id: str, point: Point) -> Any:
        value: Any = point
        if self._parametrization is not None:
            value = self._start().config(point)
            if self._names:
                value = np.array([point[name] for name in self._names])
            elif isinstance(self._parametrization, self.load_library().p.Instrumentation):
                value = (), value
        return self._optimizer.parametrization.spawn_child(new_value=value)

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        # Failed candidates are not reported to nevergrad.
        candidate = self._attach("", point) if ticket is None else ticket
        if loss is not None:
            self._optimizer.tell(candidate, loss)


def _is_in_turn(optimizer: Any) -> bool:
    """Return whether an optimiser, or the one it has chosen, evaluates one point after another."""
    chosen = (optimizer, getattr(optimizer, "optim", None))
    return any(getattr(one, "no_parallelization", False) for one in chosen)


def _config_of(candidate: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a candidate of the user's own parametrization."""
    value = candidate.value
    if names:
        return unflatten_dict({n: float(v) for n, v in zip(names, value, strict=True)})
    config: dict[str, Any] = value if isinstance(value, dict) else candidate.kwargs
    return config


def _domains_of(parametrization: Any, names: Sequence[str]) -> dict[str, Any]:
    """Convert a parametrization to this package's domains.

    Args:
        parametrization: An ``ng.p.Dict``, an ``ng.p.Instrumentation`` of named parameters, or an
            array of one dimension.
        names: Names for the elements of an array.
    """
    import nevergrad as ng

    if isinstance(parametrization, ng.p.Array) and names:
        size = parametrization.dimension
        if len(names) != size or parametrization.value.shape != (size,):
            raise InvalidArgument(
                "space", f"must name the {size} elements of the optimizer, got {names!r}."
            )
        low, high = (
            np.broadcast_to(end if bound is None else bound, size)
            for end, bound in zip((-_HUGE, _HUGE), parametrization.bounds, strict=True)
        )
        return unflatten_dict({n: uniform(a, b) for n, a, b in zip(names, low, high, strict=True)})
    if isinstance(parametrization, ng.p.Instrumentation) and not parametrization[0].value:
        parametrization = parametrization[1]
    if not isinstance(parametrization, ng.p.Dict) or names:
        raise InvalidArgument(
            "space",
            f"cannot be found in {parametrization!r:.200} with the names {list(names)!r}.",
            "Give an ng.p.Dict, an optimizer of one, or an optimizer of an array and its names.",
        )
    return {name: _domain_of(name, child) for name, child in parametrization.items()}


def _domain_of(name: str, parameter: Any) -> Any:
    import nevergrad as ng

    if isinstance(parameter, ng.p.Constant):
        return parameter.value
    if isinstance(parameter, ng.p.Dict):
        return {key: _domain_of(f"{name}/{key}", child) for key, child in parameter.items()}
    if isinstance(parameter, ng.p.Choice | ng.p.TransitionChoice):
        return choice([_domain_of(name, child) for child in parameter.choices])
    if not isinstance(parameter, ng.p.Scalar) or None in parameter.bounds:
        raise InvalidArgument(
            "space",
            f"{name!r} is {parameter!r:.200}.",
            "Use ng.p.Scalar or ng.p.Log with lower and upper, ng.p.Choice and ng.p.Dict.",
        )
    low, high = ((int if parameter.integer else float)(bound[0]) for bound in parameter.bounds)
    log = isinstance(parameter, ng.p.Log)
    return number_domain(low, high, whole=parameter.integer, log=log)


def _instrument(p: Any, parameter: Parameter) -> Any:
    low, high = parameter.low, parameter.high
    if parameter.kind == "choice":
        return p.Choice(list(range(high + 1)))
    scale = p.Log if parameter.log else p.Scalar
    instrument = scale(lower=low, upper=high)
    return instrument.set_integer_casting() if parameter.kind == "int" else instrument
