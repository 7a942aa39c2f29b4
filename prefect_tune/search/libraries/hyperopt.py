"""`HyperOptSearch`: tree-structured Parzen estimators of the library hyperopt."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.libraries.base import Asked, LibrarySearcher
from prefect_tune.search.parameter_space import Parameter, Point
from prefect_tune.space import (
    Domain,
    RandomState,
    choice,
    loguniform,
    qrandn,
    quniform,
    randint,
    randn,
    uniform,
)

#: Distribution of hyperopt -> the same of this package.
_DOMAINS: dict[str, Callable[..., Domain]] = {
    "uniform": uniform,
    "loguniform": lambda low, high: loguniform(math.exp(low), math.exp(high)),
    "quniform": quniform,
    "randint": lambda low, high=None: randint(0, low) if high is None else randint(low, high),
    "uniformint": lambda low, high: randint(int(low), int(high) + 1),
    "normal": randn,
    "qnormal": qrandn,
}


class HyperOptSearch(LibrarySearcher):
    """Suggests with the tree-structured Parzen estimator of hyperopt.

    Running and failed trials count as bad ones.

    Args:
        space: The search space; None to take the experiment's ``param_space``.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first.
        n_initial_points: Number of random suggestions before the estimator is used.
        random_state_seed: Seed.
        gamma: The share of trials that count as good.
        evaluated_rewards: Known metric values of ``points_to_evaluate``.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    library = "hyperopt"
    extra = "hyperopt"

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: RandomState = None,
        gamma: float = 0.25,
        evaluated_rewards: Sequence[float] | None = None,
    ) -> None:
        if not 0 < gamma < 1:
            raise InvalidArgument("gamma", f"must be between 0 and 1, got {gamma!r}.")
        super().__init__(
            _domains(space), metric, mode, points_to_evaluate, evaluated_rewards, random_state_seed
        )
        self._n_initial_points = n_initial_points
        self._gamma = gamma
        self._trials: Any = None

    def _begin(self, parameters: list[Parameter]) -> None:
        hyperopt = self.load_library()
        self._trials = hyperopt.Trials()

    def _ask(self, trial_id: str) -> Asked:
        tpe = importlib.import_module("hyperopt.tpe")
        (tid,) = self._trials.new_trial_ids(1)
        document = tpe.suggest(
            [tid],
            _hyperopt_domain(tuple(self._parameters)),
            self._trials,
            self._new_seed(),
            n_startup_jobs=self._n_initial_points,
            gamma=self._gamma,
            verbose=False,
        )[0]
        values = {name: found[0] for name, found in document["misc"]["vals"].items()}
        self._insert(document)
        return Asked(tid, self._start().rounded(values))

    def _attach(self, trial_id: str, point: Point) -> Any:
        (tid,) = self._trials.new_trial_ids(1)
        misc = {
            "tid": tid,
            "cmd": ("domain_attachment", "FMinIter_Domain"),
            "workdir": None,
            "idxs": {p.name: [tid] for p in self._parameters},
            "vals": {p.name: [point[p.name]] for p in self._parameters},
        }
        (document,) = self._trials.new_trial_docs([tid], [None], [{"status": "new"}], [misc])
        self._insert(document)
        return tid

    def _insert(self, document: dict[str, Any]) -> None:
        document["state"] = self.load_library().JOB_STATE_RUNNING
        self._trials.insert_trial_docs([document])
        self._trials.refresh()

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        hyperopt = self.load_library()
        tid = self._attach("", point) if ticket is None else ticket
        document = next(d for d in reversed(self._trials._dynamic_trials) if d["tid"] == tid)
        if loss is None:
            document["state"] = hyperopt.JOB_STATE_ERROR
            document["result"] = {"status": hyperopt.STATUS_FAIL}
        else:
            document["state"] = hyperopt.JOB_STATE_DONE
            document["result"] = {"loss": loss, "status": hyperopt.STATUS_OK}
        self._trials.refresh()


@functools.lru_cache(maxsize=4)
def _hyperopt_domain(parameters: tuple[Parameter, ...]) -> Any:
    """Make hyperopt's form of the space, which is costly; it holds functions, so no state does."""
    from hyperopt import Domain

    return Domain(lambda config: math.nan, {p.name: _expression(p) for p in parameters})


def _expression(parameter: Parameter) -> Any:
    from hyperopt import hp

    name, low, high = parameter.name, parameter.low, parameter.high
    if parameter.kind == "choice":
        return hp.randint(name, high + 1)
    if parameter.kind == "int" and not parameter.log:
        return hp.uniformint(name, low, high)
    if parameter.kind == "int":
        return hp.qloguniform(name, math.log(low), math.log(high), 1)
    if parameter.log:
        return hp.loguniform(name, math.log(low), math.log(high))
    return hp.uniform(name, low, high)


def _domains(space: Any) -> Any:
    """Convert a space of hyperopt's expressions to this package's domains, others unchanged."""
    try:
        from hyperopt.pyll import Apply
    except ImportError:
        return space
    if isinstance(space, Mapping):
        return {key: _domains(value) for key, value in space.items()}
    if isinstance(space, list | tuple):
        return type(space)(map(_domains, space))
    if not isinstance(space, Apply):
        return space
    inputs = space.pos_args
    if space.name == "literal":
        return space.obj
    if space.name == "dict":
        return {key: _domains(value) for key, value in space.named_args}
    if space.name == "pos_args":
        return [_domains(value) for value in inputs]
    if space.name == "switch":
        return choice([_domains(value) for value in inputs[1:]])
    if space.name in ("float", "int"):
        return _domains(inputs[0])
    if space.name == "hyperopt_param":
        drawn = inputs[1]
        make = _DOMAINS.get(drawn.name)
        if make is not None:
            arguments = {key: value.obj for key, value in drawn.named_args}
            return make(*[value.obj for value in drawn.pos_args], **arguments)
    raise InvalidArgument(
        "space",
        f"HyperOptSearch cannot read hyperopt's expression {space.name!r}.",
        "Write it with the functions of prefect_tune, such as `choice` and `uniform`.",
    )
