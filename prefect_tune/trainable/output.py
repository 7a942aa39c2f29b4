"""Output of trials: its files, and the messages that bring it to the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.result import DRIVER_FILES

_STDOUT, _STDERR = "stdout", "stderr"
_RIGHT = (
    "It is False, True (files `stdout` and `stderr`), the name of one file for both, or a pair of "
    "names; relative ones are below the directory of each trial."
)


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Files that standard output and standard error of trials are appended to.

    Attributes:
        stdout: A path below the trial's directory, or an absolute one that all trials share.
        stderr: A path as `stdout`; may be the same file.
        kept: True to keep empty files of trials that print nothing.
    """

    stdout: str = _STDOUT
    stderr: str = _STDERR
    kept: bool = False

    @classmethod
    def parse(cls, log_to_file: Any) -> OutputFiles:
        """Parse the user's `log_to_file`.

        Raises:
            InvalidArgument: If `log_to_file` is not as documented at `RunConfig`.
        """
        if log_to_file is None or log_to_file is False:
            return cls()
        if log_to_file is True:
            return cls(kept=True)
        given = log_to_file
        if isinstance(given, str):
            given = (given, given)
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise InvalidArgument("log_to_file", f"got {log_to_file!r}.", _RIGHT)
        names = [_checked(name, log_to_file) for name in given]
        return cls(names[0] or _STDOUT, names[1] or _STDERR, kept=True)


def _checked(name: Any, given: Any) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not name or "\0" in name or name.endswith("/"):
        raise InvalidArgument("log_to_file", f"got {given!r}.", _RIGHT)
    if ".." in name.split("/"):
        raise InvalidArgument("log_to_file", f"{name!r} leads out of the directory.", _RIGHT)
    if name in DRIVER_FILES:
        raise InvalidArgument("log_to_file", f"{name!r} has another meaning.", "Take another name.")
    return name


@dataclass(frozen=True, slots=True)
class TrialLog:
    """Line for the log of a trial, sent by the context manager around its user code.

    Attributes:
        trial_id: The trial.
        attempt: Its attempt.
        line: The encoded record, which the sender's own code on the driver decodes.
    """

    trial_id: str
    attempt: int
    line: bytes


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """Lines that a trial has printed.

    Attributes:
        trial_id: Id of the trial; "" if it is unknown, because trials share a file.
        attempt: Its attempt.
        pid: Id of the trial's process; 0 if it is unknown.
        stderr: True for standard error.
        lines: The lines, without line breaks.
        left_out: Bytes skipped before these lines because output was too fast; `path` has them.
        path: File on the trial's node with the complete output.
        node_ip: Address of the node if it is not the driver's, else "".
    """

    trial_id: str
    attempt: int
    pid: int
    stderr: bool
    lines: tuple[str, ...]
    left_out: int = 0
    path: str = ""
    node_ip: str = ""
