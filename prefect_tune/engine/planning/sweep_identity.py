"""What a sweep is, so that it is not taken for another one when its program runs again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_tune.engine.planning.content_digest import content_digest
from prefect_tune.engine.planning.request import ExperimentRequest
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search import Searcher
from prefect_tune.space import Domain
from prefect_tune.stopper import Stopper

_PLAIN = (type(None), bool, int, float, str, bytes, type, Domain)
_PARTS = (Searcher, TrialScheduler, Stopper)


@dataclass(frozen=True, slots=True)
class SweepIdentity:
    """What a call of `run` or `Tuner.fit` asks for.

    Attributes:
        trainable: Name of the trainable.
        name: The experiment's name as the user gave it, if at all.
        parts: A digest of each thing that decides what the results are, by its name for people.
    """

    trainable: str
    name: str | None
    parts: Mapping[str, str]


def identify(request: ExperimentRequest, trainable: str, name: str | None) -> SweepIdentity:
    """Tell what a request asks for.

    Resources, callbacks, limits of time and the like may differ: they do not change what is tried.

    Args:
        request: As the user made it, with scheduler and searcher that nobody has used yet.
        trainable: Name of the trainable.
        name: The experiment's name as the user gave it, if at all.
    """
    tune, run = request.tune_config, request.run_config
    own = {"metric": tune.metric, "mode": tune.mode, "seed": tune.seed}
    parts = {
        "the trainable": request.trainable,
        "the search space": request.param_space or {},
        "the metric": (tune.metric, tune.mode),
        "`num_samples`": tune.num_samples,
        "`seed`": tune.seed,
        "`search_alg`": _given(tune.search_alg, own),
        "`scheduler`": _given(tune.scheduler, own),
        "`stop`": _given(run.stop, own),
        "`restore`": request.restore,
    }
    return SweepIdentity(
        trainable, name, {what: content_digest(value) for what, value in parts.items()}
    )


def _given(value: Any, own: Mapping[str, Any]) -> Any:
    """What a part of a sweep was made of, without what it has learnt since.

    Args:
        value: A searcher, scheduler or stopper, or what may stand in its place.
        own: Arguments of the sweep that its parts take over.
    """
    if isinstance(value, _PARTS):
        arguments = inspect.signature(type(value).__init__).parameters
        found: dict[str, Any] = {}
        for key, attribute in vars(value).items():
            name = key.lstrip("_").removeprefix("given_")
            if name in arguments:
                found.setdefault(name, _given(attribute, own))
        unset = [k for k, v in found.items() if v is None or (k in own and own[k] == v)]
        return type(value).__qualname__, {k: v for k, v in found.items() if k not in unset}
    if isinstance(value, Mapping):
        return {key: _given(item, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_given(item, own) for item in value]
    if isinstance(value, _PLAIN) or inspect.isroutine(value):
        return value
    return type(value).__qualname__
