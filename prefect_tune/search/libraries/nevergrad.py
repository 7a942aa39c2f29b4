"""`NevergradSearch`: optimisers of the library nevergrad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import RandomState


class NevergradSearch(LibrarySearcher):
    """Suggests with an optimiser of nevergrad, gradient-free and often evolutionary.

    nevergrad pins an old version of bayesian-optimization: it cannot be installed together with
    what `BayesOptSearch` needs.

    Args:
        optimizer: Name of the optimiser in nevergrad's registry, or one of its classes, such as
            ``ng.optimizers.NGOpt``, which chooses by itself; default "OnePlusOne". (Some of what
            NGOpt may choose in nevergrad 1.0.12 fails with numpy 2.4.)
        optimizer_kwargs: Further arguments of the class. ``num_workers``, 8 by default, is also
            how many trials run at a time; ``budget`` is the experiment's ``num_samples``, or 100.
        space: The search space; None to take the experiment's ``param_space``.
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
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: RandomState = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._make = self._factory(optimizer)
        self._optimizer_kwargs = dict(optimizer_kwargs or {})
        self._num_workers = int(self._optimizer_kwargs.get("num_workers", 8))
        self._optimizer: Any = None

    def _factory(self, optimizer: Any) -> Any:
        registry = self.load_library().optimizers.registry
        if callable(optimizer):
            return optimizer
        if not isinstance(optimizer, str) or optimizer not in registry:
            raise InvalidArgument(
                "optimizer",
                f"got {optimizer!r:.200}.",
                "Give a class of ng.optimizers, or a name in ng.optimizers.registry.",
            )
        return registry[optimizer]

    def _begin(self, parameters: list[Parameter]) -> None:
        ng = self.load_library()
        parametrization = ng.p.Dict(**{p.name: _instrument(ng.p, p) for p in parameters})
        parametrization.random_state = np.random.RandomState(self._new_seed())
        # Some of nevergrad's optimisers require a budget.
        budget = self._num_samples if self._num_samples > 0 else 100
        options = {"budget": budget, "num_workers": self._num_workers, **self._optimizer_kwargs}
        self._optimizer = self._make(parametrization=parametrization, **options)

    def _ask(self, trial_id: str) -> Asked | None:
        if len(self._running) >= self._num_workers:
            return None  # some of nevergrad's optimisers would block here, and so the experiment
        candidate = self._optimizer.ask()
        return Asked(candidate, self._start().rounded(candidate.value))

    def _attach(self, trial_id: str, point: Point) -> Any:
        return self._optimizer.parametrization.spawn_child(new_value=point)

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        # Failed candidates are not reported to nevergrad.
        candidate = self._attach("", point) if ticket is None else ticket
        if loss is not None:
            self._optimizer.tell(candidate, loss)


def _instrument(p: Any, parameter: Parameter) -> Any:
    low, high = parameter.low, parameter.high
    if parameter.kind == "choice":
        return p.Choice(list(range(high + 1)))
    scale = p.Log if parameter.log else p.Scalar
    instrument = scale(lower=low, upper=high)
    return instrument.set_integer_casting() if parameter.kind == "int" else instrument
