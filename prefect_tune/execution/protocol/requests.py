"""What the driver and the agents of the nodes say to each other, besides reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from prefect_tune.error import TuneError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.trainable.runtime.attempt import Surroundings

#: Names of the agent's handlers on a Dask worker.
OPEN = "prefect_tune_open"
COLLECT = "prefect_tune_collect"
CONTROL = "prefect_tune_control"
CLOSE = "prefect_tune_close"
DATA = "prefect_tune_data"
#: Name under which the agent is registered on the cluster.
PLUGIN = "prefect_tune-agent"


class ExperimentNotOpen(TuneError):
    """A node was asked to run an attempt of an experiment that it has ended or never opened."""


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """An attempt to run; its configuration travels beside it, as a `Sealed` one.

    Attributes:
        experiment_id: The experiment, open on the node.
        trial_id: The trial.
        attempt: Its number.
        name: What people see.
        experiment_tag: The trial's tag.
        relative_dir: Trial directory below the experiment directory.
        resources: Amounts in units.
        devices: GPUs.
        run_until: Where it first waits for a decision.
        checkpoint: Where to go on from; see `TrialCheckpoint.path`.
        progress: How far the trial is there.
        checkpoint_suffix: Ends the names of the checkpoints that it writes.
        surroundings: See `AttemptContext.surroundings`.
    """

    experiment_id: str
    trial_id: str
    attempt: int
    name: str
    experiment_tag: str
    relative_dir: str
    resources: dict[str, float]
    devices: tuple[str, ...]
    run_until: RunUntil
    checkpoint: str | None
    progress: Progress
    checkpoint_suffix: str
    surroundings: Surroundings | None = None


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Give an attempt back that Dask has not started on the node, so that it goes elsewhere.

    Attributes:
        trial_id: The trial.
        attempt: Its number.
        node: Address of the node.
        constraint: The Dask resources that its task needs.
        waited_s: Seconds since it was launched.
    """

    trial_id: str
    attempt: int
    node: str
    constraint: dict[str, float]
    waited_s: float


def task_group(trainable: str, experiment_id: str) -> str:
    """The first part of the Dask keys of an experiment's attempts.

    Dask keeps statistics per first part of a key for ever: one per experiment is enough.
    """
    return f"{trainable}-{experiment_id}"


def is_attempt_of(key: object, experiment_id: str) -> bool:
    """Whether a Dask key is that of an attempt of this experiment."""
    return isinstance(key, tuple) and str(key[0]).endswith(f"-{experiment_id}")


class Sealed:
    """A pickled value that pickles as if it were the value itself.

    A configuration may hold objects of classes that only the trial's process can import; whoever
    passes it on must not need to.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def of(cls, value: Any) -> Sealed:
        """Seal a value."""
        return cls(cloudpickle.dumps(value))

    @property
    def data(self) -> bytes:
        """The pickle."""
        return self._data

    def open(self) -> Any:
        """The value."""
        return cloudpickle.loads(self._data)

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (self._data,)


def unsendable(config: Mapping[str, Any]) -> str:
    """What in a configuration that cannot be pickled is to blame, in words."""
    for name, value in config.items():
        try:
            Sealed.of(value)
        except Exception:  # whatever an object of the user's raises when it is pickled
            return f"`config[{name!r}]` ({type(value).__name__})"
    return "the configuration"
