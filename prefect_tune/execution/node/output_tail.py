"""`OutputTail`: reads new output of a node's trials from their files, and reports it.

Trials only write to files, so that their output survives them, costs them nothing, and
includes output of native code.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from prefect_tune.execution.protocol.reports import Outbox
from prefect_tune.experiment.attempt import NO_ATTEMPT, AttemptKey
from prefect_tune.trainable.output import TrialOutput

#: Seconds between two checks of the files.
_PERIOD_S = 0.4
#: Bytes that are reported at each check at most, of one file and of the node.
_FILE_BYTES = 1 << 14
_NODE_BYTES = 1 << 16
_LONGEST_LINE = 1000


@dataclass(slots=True)
class _Stream:
    """Output file that is followed, and how far it has been read."""

    path: Path
    stderr: bool
    position: int
    key: AttemptKey
    pid: int = 0
    users: set[AttemptKey] = field(default_factory=set)


class OutputTail:
    """Reports new output of trials on this node, for the node's event loop.

    Args:
        outbox: Queue of reports to the driver.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._streams: dict[Path, _Stream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._room = _NODE_BYTES

    def watch(self, key: AttemptKey, directory: Path, stdout: Path, stderr: Path) -> None:
        """Start to follow the output of an attempt, before its process starts.

        Args:
            key: The attempt.
            directory: The trial's directory; trials may share files elsewhere.
            stdout: The file of its standard output.
            stderr: The file of its standard error; may be the same file.
        """
        for path in dict.fromkeys((stdout, stderr)):
            stream = self._streams.get(path)
            if stream is None:
                own = path.is_relative_to(directory)
                is_stderr = path == stderr and path != stdout
                stream = _Stream(path, is_stderr, _size(path), key if own else NO_ATTEMPT)
                self._streams[path] = stream
            stream.users.add(key)
        self._schedule()

    def started(self, key: AttemptKey, pid: int) -> None:
        """Note the process id of an attempt that has started."""
        for stream in self._streams.values():
            if stream.key == key:
                stream.pid = pid

    def unwatch(self, key: AttemptKey) -> None:
        """Report an attempt's last output, and stop following it."""
        for stream in [stream for stream in self._streams.values() if key in stream.users]:
            self._report_new(stream, last=True)
            stream.users.discard(key)
            if not stream.users:
                del self._streams[stream.path]

    def close(self) -> None:
        """Stop following all files."""
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if self._timer is None and self._streams:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._report_all)

    def _report_all(self) -> None:
        self._timer = None
        self._room = _NODE_BYTES
        for stream in list(self._streams.values()):
            self._report_new(stream)
        self._schedule()

    def _report_new(self, stream: _Stream, last: bool = False) -> None:
        """Report the new output in a file, in whole lines where they are short enough."""
        size = _size(stream.path)
        if size < stream.position:  # the file was truncated
            stream.position = size
        new = size - stream.position
        room = min(_FILE_BYTES, self._room)
        if not new or self._outbox.full or (not last and room < _LONGEST_LINE):
            return
        # The last lines of an attempt are always shown, because they matter most.
        room = max(room, _LONGEST_LINE)
        left_out = max(0, new - room)
        try:
            with open(stream.path, "rb") as file:
                file.seek(stream.position + left_out)
                data = file.read(room)
        except OSError:
            return
        whole = data if last else data[: data.rfind(b"\n") + 1]
        if not whole and len(data) < room:  # the line is not complete yet
            return
        whole = whole or data
        stream.position += left_out + len(whole)
        if left_out:  # the data probably starts in the middle of a line
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
    """Split output into lines, with only the last state of progress bars."""
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
