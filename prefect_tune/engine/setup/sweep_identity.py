"""The identity of a sweep, by which a repeated call finds the experiment that it has begun."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_tune.engine.setup.content_digest import content_digest
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search import Searcher
from prefect_tune.space import Domain
from prefect_tune.stopper import Stopper

_PLAIN = (type(None), bool, int, float, str, bytes, type, Domain)
_PARTS = (Searcher, TrialScheduler, Stopper)


@dataclass(frozen=True, slots=True)
class SweepIdentity:
    """The identity of the sweep that a call of `run` or `Tuner.fit` begins.

    Attributes:
        trainable: Name of the trainable.
        name: The experiment's name, if the user gave one.
        parts: A digest of each argument that decides what the results are, by a name for messages.
    """

    trainable: str
    name: str | None
    parts: Mapping[str, str]


def identify(request: ExperimentRequest, trainable: str, name: str | None) -> SweepIdentity:
    """Return the identity of the sweep that a request asks for.

    Resources, callbacks, time limits and the like are left out: they do not change what is tried.

    Args:
        request: The user's request, with a scheduler and searcher that have not been used yet.
        trainable: Name of the trainable.
        name: The experiment's name, if the user gave one.
    """
    tune, run = request.tune_config, request.run_config
    own = {"metric": tune.metric, "mode": tune.mode, "seed": tune.seed}
    parts = {
        "the trainable": request.trainable,
        "the search space": request.param_space or {},
        "the metric": (tune.metric, tune.mode),
        "`num_samples`": tune.num_samples,
        "`seed`": tune.seed,
        "`search_alg`": _constructor_arguments(tune.search_alg, own),
        "`scheduler`": _constructor_arguments(tune.scheduler, own),
        "`stop`": _constructor_arguments(run.stop, own),
        "`restore`": request.restore,
    }
    return SweepIdentity(
        trainable, name, {what: content_digest(value) for what, value in parts.items()}
    )


def _constructor_arguments(value: Any, own: Mapping[str, Any]) -> Any:
    """Return the constructor arguments of a scheduler, searcher or stopper.

    Args:
        value: The object, or another value that the user may give instead, such as a name.
        own: Arguments of the sweep that its parts copy and that are therefore left out.
    """
    if isinstance(value, _PARTS):
        arguments = inspect.signature(type(value).__init__).parameters
        found: dict[str, Any] = {}
        for key, attribute in vars(value).items():
            name = key.lstrip("_").removeprefix("given_")
            if name in arguments:
                found.setdefault(name, _constructor_arguments(attribute, own))
        unset = [k for k, v in found.items() if v is None or (k in own and own[k] == v)]
        return type(value).__qualname__, {k: v for k, v in found.items() if k not in unset}
    if isinstance(value, Mapping):
        return {key: _constructor_arguments(item, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_constructor_arguments(item, own) for item in value]
    if isinstance(value, _PLAIN) or inspect.isroutine(value):
        return value
    return type(value).__qualname__
