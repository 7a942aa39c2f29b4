"""Follows what the trials of a node print, in the files that it goes to.

Trials write to files and know nothing of it: what they print survives them, costs them nothing, and
includes what native code prints.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from prefect_tune.execution.protocol.reports import Outbox
from prefect_tune.experiment.attempt_key import NO_ATTEMPT, AttemptKey
from prefect_tune.trainable.output import TrialOutput

#: Seconds between two looks.
_PERIOD_S = 0.4
#: Bytes that one file, and all of a node, may have passed on at one look.
_FILE_BYTES = 1 << 14
_NODE_BYTES = 1 << 16
_LONGEST_LINE = 1000


@dataclass(slots=True)
class _Stream:
    """One file that is followed."""

    path: Path
    stderr: bool
    position: int
    key: AttemptKey
    pid: int = 0
    users: set[AttemptKey] = field(default_factory=set)


class OutputTail:
    """Belongs to the event loop of the node.

    Args:
        outbox: Takes what is new.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._streams: dict[Path, _Stream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._room = _NODE_BYTES

    def watch(self, key: AttemptKey, directory: Path, stdout: Path, stderr: Path) -> None:
        """Follow the output of an attempt, whose process is not there yet.

        Args:
            key: The attempt.
            directory: The trial's; files elsewhere may be shared by trials.
            stdout: The file of its standard output.
            stderr: The same for standard error; may be the same file.
        """
        for path in dict.fromkeys((stdout, stderr)):
            stream = self._streams.get(path)
            if stream is None:
                own = path.is_relative_to(directory)
                is_stderr = path == stderr and path != stdout
                stream = _Stream(path, is_stderr, _size(path), key if own else NO_ATTEMPT)
                self._streams[path] = stream
            stream.users.add(key)
        self._wait()

    def started(self, key: AttemptKey, pid: int) -> None:
        """The process of an attempt is there."""
        for stream in self._streams.values():
            if stream.key == key:
                stream.pid = pid

    def unwatch(self, key: AttemptKey) -> None:
        """Pass on the last that an attempt has printed."""
        for stream in [stream for stream in self._streams.values() if key in stream.users]:
            self._look(stream, last=True)
            stream.users.discard(key)
            if not stream.users:
                del self._streams[stream.path]

    def close(self) -> None:
        """Follow nothing any more."""
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._timer is None and self._streams:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._look_at_all)

    def _look_at_all(self) -> None:
        self._timer = None
        self._room = _NODE_BYTES
        for stream in list(self._streams.values()):
            self._look(stream)
        self._wait()

    def _look(self, stream: _Stream, last: bool = False) -> None:
        size = _size(stream.path)
        if size < stream.position:  # emptied by somebody
            stream.position = size
        new = size - stream.position
        room = min(_FILE_BYTES, self._room)
        if not new or self._outbox.full or (not last and room < _LONGEST_LINE):
            return
        # With no room left the last lines of an attempt are shown all the same: they matter most.
        room = max(room, _LONGEST_LINE)
        left_out = max(0, new - room)
        try:
            with open(stream.path, "rb") as file:
                file.seek(stream.position + left_out)
                data = file.read(room)
        except OSError:
            return
        whole = data if last else data[: data.rfind(b"\n") + 1]
        if not whole and len(data) < room:  # the line will be longer
            return
        whole = whole or data
        stream.position += left_out + len(whole)
        if left_out:  # most likely in the middle of a line
            head, _, rest = whole.partition(b"\n")
            left_out, whole = left_out + len(head) + 1, rest
        self._room -= len(whole)
        lines = _lines(whole)
        if lines or left_out:
            path = str(stream.path)
            self._outbox.put(
                TrialOutput(*stream.key, stream.pid, stream.stderr, lines, left_out, path),
                urgent=False,
                nbytes=sum(map(len, lines)),
            )


def _lines(data: bytes) -> tuple[str, ...]:
    """The lines as a person wants to see them: progress bars as they were at last."""
    lines = []
    for line in data.decode("utf-8", errors="replace").split("\n"):
        text = line.rstrip("\r").rpartition("\r")[2].rstrip()
        if text:
            lines.append(text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…")
    return tuple(lines)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
