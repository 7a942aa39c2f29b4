"""Messages between the agent of a node and its two helper processes, in frames with pickles.

Replies have the number of their request; what a process says by itself has the number 0.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from prefect_tune.filesystem.location import Location
from prefect_tune.trainable.shipping.local_modules import import_places
from prefect_tune.trainable.shipping.packing import TrainableSource

#: Exit status of a process; the negative number of the signal that has killed it, as in
#: `subprocess.Popen`; None if it is unknown.
ExitCode = int | None


class HelperMessage(IntEnum):
    """Type of a frame to or from a helper process, with its payload in brackets."""

    LOAD = 32  #: to the zygote: import the trainable [LoadRequest]
    START = 33  #: start an attempt; the trial's socket comes with it [StartRequest]
    STARTED = 49  #: its reply to that [pid]
    EXITED = 51  #: from it, no reply: a trial process has ended [(pid, exit code)]
    PUT = 64  #: to the process that moves checkpoints: upload one [Transfer]
    GET = 65  #: download one [Transfer]
    OUTAGE = 82  #: from it, no reply: why storage does not answer; "" once it does [that text]
    DONE = 80  #: reply of both [of LOAD: LoadInfo; None]
    FAILED = 81  #: the request failed [the exception; of the zygote: Refused]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Request to load the experiment's trainable, with the start method for its attempts."""

    source: TrainableSource
    start_method: str


@dataclass(frozen=True, slots=True)
class LoadInfo:
    """Start method of attempts on this node.

    Attributes:
        method: ``fork``, ``spawn`` or ``thread``.
        note: Reason for the method if it is unexpected.
    """

    method: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Request to start one attempt.

    Attributes:
        context: The pickled `AttemptContext`, which only the trial process unpickles: it may
            contain objects of the user's classes. Of a function in a bundle: see `run_call`.
        env: Environment variables.
        stdout: File that standard output is appended to.
        stderr: File that standard error is appended to; may be the same file.
        title: Name of the process in process listings.
        reuse: True if the process may wait for another trial at the end of this one.
        is_call: Whether it is a function in a bundle of a trial.
    """

    context: bytes
    env: dict[str, str]
    stdout: str
    stderr: str
    title: str
    reuse: bool = False
    is_call: bool = False


@dataclass(eq=False)
class Refused(Exception):
    """Error for a request that the zygote could not carry out, in texts that any process loads.

    Attributes:
        kind: Name of the exception class.
        message: Message of the exception.
        module: Name of the module, for a ModuleNotFoundError.
        traceback: Traceback of the exception.
        searched: Where the process looks for modules.
    """

    kind: str
    message: str
    module: str | None
    traceback: str
    searched: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Make it from the exception that is being handled."""
        return cls(
            type(error).__name__,
            str(error),
            error.name if isinstance(error, ModuleNotFoundError) else None,
            traceback.format_exc(limit=-5),
            import_places(),
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Description of a checkpoint to upload or download.

    Attributes:
        location: A directory in storage.
        path: Path of the checkpoint below `location`.
        directory: The checkpoint's directory on this node: complete, or to be created.
        timeout_s: Seconds after which the transfer is given up.
        outage_s: Seconds for which storage may be unavailable.
    """

    location: Location
    path: str
    directory: str
    timeout_s: float
    outage_s: float
