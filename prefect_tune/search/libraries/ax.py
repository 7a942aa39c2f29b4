"""`AxSearch`: Bayesian optimisation with the library Ax."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import flatten_dict, unflatten_dict
from prefect_tune.search.libraries.base import Asked, LibrarySearcher, number_domain
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import (
    Categorical,
    Domain,
    Float,
    Integer,
    LogUniform,
    Normal,
    RandomState,
    choice,
)


class AxSearch(LibrarySearcher):
    """Suggests with Ax: quasi-random points first, then Bayesian optimisation with BoTorch.

    Args:
        space: The search space, or a list of dicts as Ax describes parameters; None to take the
            experiment's ``param_space``.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
        parameter_constraints: Linear constraints on parameters, ``["x1 + x2 <= 2"]``.
        outcome_constraints: Constraints on other metrics, ``["latency <= 3"]``.
        ax_client: An `ax.api.client.Client` or `ax.service.ax_client.AxClient` whose experiment is
            configured; it brings its space, metric and mode.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.
        seed: Seed.
        **ax_kwargs: Arguments of `Client.configure_generation_strategy`.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "ax"
    extra = "ax"

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: Any = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: RandomState = None,
        **ax_kwargs: Any,
    ) -> None:
        self.load_library()
        if ax_client is not None:
            experiment = _experiment_of(ax_client)
            space = _domains_of(experiment)
            objective = experiment.optimization_config.objective
            metric = metric or objective.metric_names[0]
            mode = mode or ("min" if objective.minimize else "max")
            if not hasattr(ax_client, "mark_trial_failed"):
                ax_client = _ServiceClient(ax_client)
        elif isinstance(space, Sequence):
            space = unflatten_dict({entry["name"]: _domain(entry) for entry in space})
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._parameter_constraints = list(parameter_constraints or ())
        self._outcome_constraints = list(outcome_constraints or ())
        self._given_client = ax_client
        self._options = ax_kwargs
        #: What Ax knows each parameter by: it takes Python's identifiers only.
        self._names: dict[str, str] = {}
        self._client: Any = None
        self._outcomes = [re.split(r"[<>=]", text)[0].strip() for text in outcome_constraints or ()]
        self._last: dict[str, Any] = {}

    @classmethod
    def convert_search_space(cls, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a space as Ax describes parameters, for a client; steps are left out.

        Args:
            spec: A space with domains.

        Raises:
            InvalidArgument: There is a grid, or something that the library cannot search.
        """
        super().convert_search_space(spec)
        return [_description(name, value) for name, value in flatten_dict(dict(spec)).items()]

    def _begin(self, parameters: list[Parameter]) -> None:
        for handler in logging.getLogger("ax").handlers:
            handler.setLevel(logging.WARNING)  # it tells of each trial
        if self._given_client is not None:
            self._client = self._given_client
            return
        from ax.api.client import Client

        for p in parameters:
            name = re.sub(r"\W", "_", p.name)
            self._names[p.name] = f"{name}_{len(self._names)}" if name in self._names else name
        self._client = Client(random_seed=self._new_seed())
        self._client.configure_experiment(
            parameters=[_config(self._names[p.name], p) for p in parameters],
            parameter_constraints=list(map(self._renamed, self._parameter_constraints)),
        )
        # The sign in the text is the mode: a loss is always to be small.
        self._client.configure_optimization(
            objective="-loss", outcome_constraints=self._outcome_constraints
        )
        if self._options:
            self._client.configure_generation_strategy(**self._options)

    def _renamed(self, constraint: str) -> str:
        for path in sorted(self._names, key=len, reverse=True):
            constraint = constraint.replace(path, self._names[path])
        return constraint

    def _ask(self, trial_id: str) -> Asked | None:
        for index, found in self._client.get_next_trials(max_trials=1).items():
            if self._given_client is not None:
                return Asked(index, self._start().point(found))
            numbers = {p.name: found[self._names[p.name]] for p in self._parameters}
            return Asked(index, self._start().rounded(numbers))
        return None

    def _attach(self, trial_id: str, point: Point) -> Any:
        if self._given_client is not None:
            return self._client.attach_trial(flatten_dict(self._start().config(point)))
        return self._client.attach_trial(
            {self._names[p.name]: point[p.name] for p in self._parameters}
        )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report a trial's metric and constrained metrics to Ax."""
        self._last = {name: (result or {}).get(name) for name in self._outcomes}
        super().on_trial_complete(trial_id, result, error)

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        index = self._attach("", point) if ticket is None else ticket
        data, self._last = self._last, {}
        if loss is None or None in data.values() or len(data) < len(self._outcomes):
            self._client.mark_trial_failed(trial_index=index)
            return
        name, value = "loss", loss
        if self._given_client is not None:
            name, value = str(self._metric), loss if self._mode == "min" else -loss
        self._client.complete_trial(trial_index=index, raw_data={name: value, **data})


def _config(name: str, parameter: Parameter) -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    low, high = parameter.low, parameter.high
    if parameter.kind == "choice":
        return ChoiceParameterConfig(
            name=name, parameter_type="int", values=list(range(high + 1)), is_ordered=False
        )
    return RangeParameterConfig(
        name=name,
        parameter_type=parameter.kind,
        bounds=(low, high),
        scaling="log" if parameter.log else None,
    )


def _domain(entry: Mapping[str, Any]) -> Any:
    """Convert a dict with which Ax describes a parameter to a domain."""
    kind = entry.get("type")
    if kind == "fixed":
        return entry["value"]
    if kind == "choice":
        return choice(entry["values"])
    if kind != "range":
        raise InvalidArgument(
            "space", f"has {dict(entry)!r}.", 'The "type" is "range", "choice" or "fixed".'
        )
    low, high = entry["bounds"]
    whole = entry.get("value_type") == "int" or (isinstance(low, int) and isinstance(high, int))
    return number_domain(low, high, whole=whole, log=bool(entry.get("log_scale")))


def _description(name: str, value: Any) -> dict[str, Any]:
    """Return the dict with which Ax describes a parameter, or a constant."""
    if not isinstance(value, Domain):
        return {"name": name, "type": "fixed", "value": value}
    if isinstance(value, Categorical):
        return {"name": name, "type": "choice", "values": list(value.categories)}
    bounds: list[float]
    if isinstance(value, Integer):
        kind, bounds = "int", list(value.inclusive_bounds())
    elif isinstance(value, Float) and not value.has_sampler(Normal):
        kind, bounds = "float", [value.lower, value.upper]
    else:
        raise InvalidArgument(
            "space", f"{name!r} is {value!r}, which Ax has no dict for.", "Give it bounds."
        )
    log = {"log_scale": True} if value.has_sampler(LogUniform) else {}
    return {"name": name, "type": "range", "bounds": bounds, "value_type": kind, **log}


class _ServiceClient:
    """Ax's older `AxClient` with the methods of its newer `Client`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_next_trials(self, max_trials: int) -> dict[int, dict[str, Any]]:
        parameters, index = self._client.get_next_trial()
        return {index: parameters}

    def attach_trial(self, parameters: dict[str, Any]) -> int:
        index: int = self._client.attach_trial(parameters)[1]
        return index

    def complete_trial(self, trial_index: int, raw_data: dict[str, float]) -> None:
        self._client.complete_trial(trial_index, raw_data)

    def mark_trial_failed(self, trial_index: int) -> None:
        self._client.log_trial_failure(trial_index)


def _experiment_of(client: Any) -> Any:
    # One of the classes has a property that raises an error without an experiment.
    name = "_maybe_experiment" if hasattr(type(client), "_maybe_experiment") else "_experiment"
    experiment = getattr(client, name, None)
    if experiment is None or experiment.optimization_config is None:
        raise InvalidArgument(
            "ax_client",
            f"got {type(client).__name__} without an experiment and its objective.",
            "Give a configured ax.api.client.Client or ax.service.ax_client.AxClient.",
        )
    return experiment


def _domains_of(experiment: Any) -> dict[str, Any]:
    domains: dict[str, Any] = {}
    for name, parameter in experiment.search_space.parameters.items():
        if hasattr(parameter, "lower"):
            whole = parameter.parameter_type.name == "INT"
            entry = {"bounds": (parameter.lower, parameter.upper), "type": "range"}
            entry |= {"log_scale": parameter.log_scale, "value_type": "int" if whole else "float"}
            domains[name] = _domain(entry)
        else:
            values = getattr(parameter, "values", None)
            domains[name] = parameter.value if values is None else choice(values)
    return unflatten_dict(domains)
