"""The arguments of a sweep as the user gave them, and the identity of a repeated sweep.

A flow run may be executed several times: retried, resumed, restarted after a crash. Each time the
user's code makes the same call, which knows neither that it is repeated nor, with a generated name,
where the experiment is. The orchestration records both, and `make_setup` reads them through
`RerunRecord`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefect_tune.config import ResumeConfig, RunConfig, TuneConfig
from prefect_tune.engine.setup.digests import content_digest
from prefect_tune.filesystem.location import Location
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search import Searcher
from prefect_tune.space import Domain
from prefect_tune.stopper import Stopper

_PLAIN = (type(None), bool, int, float, str, bytes, type, Domain)
_PARTS = (Searcher, TrialScheduler, Stopper)


@dataclass
class ExperimentRequest:
    """The arguments of `run` or of `Tuner`, not yet validated.

    Attributes:
        trainable: The trainable to tune.
        param_space: The search space.
        tune_config: How the space is searched.
        run_config: How the experiment runs.
        resources_per_trial: Resources of each trial; None is one CPU.
        space_argument: Name of the search space's argument in the user's call, for error messages.
        resume: Whether to go on with an interrupted experiment.
        restore: The checkpoint that trials start from.
        resume_config: Which trials of the resumed experiment run again.
        export_formats: The formats in which trials export their models at their end.
        saved: The state of the `Tuner`, to be written into the experiment directory for
            `Tuner.restore`; None writes nothing.
    """

    trainable: Any
    param_space: Any = None
    tune_config: TuneConfig = field(default_factory=TuneConfig)
    run_config: RunConfig = field(default_factory=RunConfig)
    resources_per_trial: Any = None
    space_argument: str = "param_space"
    resume: Any = None
    restore: Any = None
    resume_config: ResumeConfig | None = None
    export_formats: Any = None
    saved: bytes | None = None

    def resume_call(self, name: str, root: str) -> str:
        """Return the code of the call that resumes the experiment, for messages."""
        if self.saved is not None:
            return f"Tuner.restore({os.path.join(root, name)!r}, trainable).fit()"
        return f"tune.run(..., name={name!r}, storage_path={root!r}, resume=True)"


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
        "`search_alg`": _identifying_data(tune.search_alg, own),
        "`scheduler`": _identifying_data(tune.scheduler, own),
        "`stop`": _identifying_data(run.stop, own),
        "`restore`": request.restore,
    }
    return SweepIdentity(
        trainable, name, {what: content_digest(value) for what, value in parts.items()}
    )


def _identifying_data(value: Any, own: Mapping[str, Any]) -> Any:
    """Return plain data that identifies a scheduler, searcher or stopper: class and arguments.

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
                found.setdefault(name, _identifying_data(attribute, own))
        unset = [k for k, v in found.items() if v is None or (k in own and own[k] == v)]
        return type(value).__qualname__, {k: v for k, v in found.items() if k not in unset}
    if isinstance(value, Mapping):
        return {key: _identifying_data(item, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identifying_data(item, own) for item in value]
    if isinstance(value, _PLAIN) or inspect.isroutine(value):
        return value
    return type(value).__qualname__


@dataclass(frozen=True, slots=True)
class BegunSweep:
    """A sweep that an earlier execution of the flow run has begun.

    Attributes:
        name: Name of the sweep's experiment.
        origin: Id of the experiment's first run. The directory may hold another experiment by now.
        failed: True if the sweep has ended, and the call has failed because of failed trials.
    """

    name: str
    origin: str
    failed: bool = False

    def resume_mode(self, asked: Any, config: Any = None) -> Any:
        """Return the `resume` argument with which the sweep goes on.

        Args:
            asked: The user's `resume` argument; None if not given.
            config: The user's `resume_config`, which may say which trials run again.

        Returns:
            A value of `resume`. If the user gave none, it is one that begins a new experiment where
            there is none: the process may have been killed before it wrote anything.
        """
        if asked not in (None, "PROMPT"):
            return asked
        return "AUTO+ERRORED" if self.failed and config is None else "AUTO"


class RerunRecord(Protocol):
    """The record of the experiment that one sweep has begun, as `make_setup` reads it."""

    def look_up(self, storage: Location, sweep: SweepIdentity) -> BegunSweep | None:
        """Return the sweep that an earlier execution has begun; None if there is none.

        Args:
            storage: The location of experiment directories.
            sweep: The identity of the sweep.
        """
        ...
