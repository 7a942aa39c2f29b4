"""Requests that the driver sends to the nodes' agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from prefect_tune.coordinator.commands import AttemptCommand, Decide, Kill
from prefect_tune.error import TuneError
from prefect_tune.experiment.message import message

#: Names of the agent's handlers on a Dask worker.
OPEN = "prefect_tune_open"
COLLECT = "prefect_tune_collect"
CONTROL = "prefect_tune_control"
CLOSE = "prefect_tune_close"
DATA = "prefect_tune_data"
#: What the agents of an attempt's nodes ask each other.
RESERVED = "prefect_tune_reserved"
CALL = "prefect_tune_call"
END_CALL = "prefect_tune_end_call"
#: What whoever is told to end the worker asks first.
LEAVE = "prefect_tune_leave"
#: What a worker has without declaring it.
OFFERS = "prefect_tune_offers"
#: Name under which the agent is registered on the cluster.
PLUGIN = "prefect_tune-agent"
#: And that of the one for nannies.
NANNY_PLUGIN = "prefect_tune-nanny"


class ExperimentNotOpen(TuneError):
    """Error for an attempt of an experiment that the node has ended or never opened."""


@message(frozen=True, slots=True)
class TakeBack(AttemptCommand):
    """Request to return an attempt that Dask has not started, so that it runs elsewhere.

    Attributes:
        node: Address of the node.
        constraint: The Dask resources that its task needs.
        waited_s: Seconds since it was launched.
    """

    node: str
    constraint: dict[str, float]
    waited_s: float


@message(frozen=True, slots=True)
class Abandon(AttemptCommand):
    """Request to kill an attempt and report it as lost, because a node with its bundle is lost.

    Attributes:
        node: Address of the node that it runs on.
        reason: For people.
    """

    node: str
    reason: str


@message(frozen=True, slots=True)
class Leave(AttemptCommand):
    """Request that an attempt checkpoints and ends, because a node with its bundle is about to end.

    Attributes:
        node: Address of the node that it runs on.
    """

    node: str


@message(frozen=True, slots=True)
class ReleaseBundles(AttemptCommand):
    """Request to release the bundles of an attempt that has ended on another node."""


#: What the driver tells the node that an attempt runs on, and what it tells any node.
AddressedMessage = Decide | Kill | TakeBack | Abandon | Leave
Message = AddressedMessage | ReleaseBundles


def task_group(trainable: str, experiment_id: str) -> str:
    """Return the first part of the Dask keys of an experiment's attempts.

    One per experiment is enough, because Dask keeps statistics for each first part for ever.
    """
    return f"{trainable}-{experiment_id}"


def is_attempt_of(key: object, experiment_id: str) -> bool:
    """Return True if a Dask key belongs to an attempt of this experiment."""
    return isinstance(key, tuple) and str(key[0]).endswith(f"-{experiment_id}")


@dataclass(frozen=True, slots=True)
class PickledValue:
    """Pickled value whose own pickle loads as the value itself.

    A configuration may contain objects of classes that only the trial's process can import, so
    processes that forward it must not unpickle it.

    Attributes:
        data: The pickle.
    """

    data: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (self.data,)


def unsendable(config: Mapping[str, Any]) -> str:
    """Return a text that names the value in a configuration that cannot be pickled."""
    for name, value in config.items():
        try:
            cloudpickle.dumps(value)
        except Exception:  # a user's object may raise anything when it is pickled
            return f"`config[{name!r}]` ({type(value).__name__})"
    return "the configuration"
