"""Messages between the agent of a node and its zygote, framed like those of the trials."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from prefect_tune.trainable.shipping.source import TrainableSource


class Message(IntEnum):
    """What a frame is; its payload (pickled) in brackets. Replies repeat the request's number."""

    LOAD = 32  #: import the trainable [LoadRequest]
    START = 33  #: start an attempt; the trial's socket comes with it [StartRequest]
    LOADED = 48  #: [LoadInfo]
    STARTED = 49  #: [pid]
    REFUSED = 50  #: the request failed [Refusal]
    EXITED = 51  #: a trial process is gone; unasked, number 0 [(pid, ExitStatus)]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The trainable of the experiment and how its attempts are to start."""

    source: TrainableSource
    start_method: str


@dataclass(frozen=True, slots=True)
class LoadInfo:
    """How attempts start on this node.

    Attributes:
        method: ``fork``, ``spawn`` or ``thread``.
        note: Why, if that is not what one would expect.
    """

    method: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One attempt to start.

    Attributes:
        context: The pickled `AttemptContext`, which only the trial process itself unpickles: it may
            hold objects of the user's classes. Of a function in a bundle: see `run_call`.
        env: Environment variables.
        stdout: File that standard output is appended to.
        stderr: The same for standard error; may be the same file.
        title: What process listings show.
        reuse: Whether the process may wait for another trial at the end of this one.
        is_call: Whether it is a function in a bundle of a trial.
    """

    context: bytes
    env: dict[str, str]
    stdout: str
    stderr: str
    title: str
    reuse: bool = False
    is_call: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the zygote could not do it.

    Attributes:
        kind: Name of the exception class.
        message: Its text.
        module: The module that was not found, if that was it.
        traceback: Where it was raised.
    """

    kind: str
    message: str
    module: str | None = None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: one of the two is set, or neither if it cannot be known.

    Attributes:
        code: Exit status.
        signal: The signal that killed it.
    """

    code: int | None = None
    signal: int | None = None
