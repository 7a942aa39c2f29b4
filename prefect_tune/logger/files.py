"""Append results to a file for each of many trials, with few of them open at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from io import FileIO
from typing import Any, Generic, Protocol, TypeVar

from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback

#: Files that one logger keeps open. The usual limit is 1,024 a process, which also holds sockets.
MAX_OPEN = 128
_MAX_BUFFERED = 1 << 18


class AppendFiles:
    """Buffers data appended to many files, and keeps only the recently used files open.

    Not thread-safe.

    Args:
        max_open: The most files that are open at a time.
    """

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._open: OrderedDict[str, FileIO] = OrderedDict()
        self._buffers: dict[str, list[bytes]] = {}
        self._buffered = 0

    def append(self, path: str, data: bytes) -> None:
        """Append data to a file, at the latest at the next `flush`."""
        self._buffers.setdefault(path, []).append(data)
        self._buffered += len(data)
        if self._buffered > _MAX_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Write all buffered data to the files."""
        buffers, self._buffers, self._buffered = self._buffers, {}, 0
        for path, chunks in buffers.items():
            self._write(path, b"".join(chunks))

    def close(self, path: str) -> None:
        """Write the buffered data of one file and close it."""
        chunks = self._buffers.pop(path, None)
        if chunks:
            data = b"".join(chunks)
            self._buffered -= len(data)
            self._write(path, data)
        file = self._open.pop(path, None)
        if file is not None:
            file.close()

    def close_all(self) -> None:
        """Write all buffered data and close all files."""
        self.flush()
        while self._open:
            self._open.popitem()[1].close()

    def _write(self, path: str, data: bytes) -> None:
        file = self._open.get(path)
        if file is None:
            if len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            file = self._open[path] = open_append(path)
        else:
            self._open.move_to_end(path)
        view = memoryview(data)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            error.filename = path  # errors of writes, as on a full disk, do not name the file
            raise


class TrialFile(Protocol):
    """The file of one trial, with what its logger has to remember about it."""

    path: str


File = TypeVar("File", bound=TrialFile)
Results = Sequence[Mapping[str, Any]]


class FileLoggerCallback(LoggerCallback, Generic[File]):
    """A logger that appends the results of each trial to one file.

    Subclasses say how to begin a trial's file, and how results look in it.
    """

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._of_trial: dict[str, File] = {}

    def _begin_file(self, trial: Trial) -> File:
        """Return the file for a trial's results; called again once the trial has ended."""
        raise NotImplementedError

    def _encode(self, file: File, results: Results, lines: Sequence[bytes]) -> bytes:
        """Return what to append to a trial's file for some results.

        Args:
            file: The trial's file.
            results: Consecutive results of one attempt, at least one.
            lines: The same results as lines of JSON; may be empty.
        """
        raise NotImplementedError

    def log_trial_start(self, trial: Trial) -> None:
        """Begin the trial's file; one that an earlier attempt has begun is kept."""
        if trial.trial_id not in self._of_trial:
            self._of_trial[trial.trial_id] = self._begin_file(trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Write one result and flush."""
        self.log_trial_results(iteration, trial, (result,))
        self.flush()

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Results,
        lines: Sequence[bytes] = (),
    ) -> None:
        """Write several results of one attempt of a trial."""
        if not results:
            return
        if trial.trial_id not in self._of_trial:
            self.log_trial_start(trial)
        file = self._of_trial[trial.trial_id]
        self._files.append(file.path, self._encode(file, results, lines))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write what is buffered for the trial and close its file."""
        file = self._of_trial.pop(trial.trial_id, None)
        if file is not None:
            self._files.close(file.path)

    def flush(self) -> None:
        """Write what is buffered to the files."""
        self._files.flush()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write all that is buffered and close all files."""
        self.flush()
        self._of_trial.clear()
        self._files.close_all()


def open_append(path: str) -> FileIO:
    """Open a file for appending, unbuffered; its directory is created if it is missing."""
    try:
        return open(path, "ab", buffering=0)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "ab", buffering=0)


def cut_incomplete_line(path: str, quotes: bool = False) -> list[int]:
    """Cut off an incomplete last line, which a killed process leaves behind.

    Args:
        path: The file, which may be missing.
        quotes: Whether line breaks between double quotes belong to the line.

    Returns:
        The positions of the ends of all lines, in bytes.
    """
    ends: list[int] = []
    end = 0
    quoted = False
    try:
        with open(path, "rb") as file:
            for line in file:
                end += len(line)
                quoted ^= quotes and line.count(b'"') % 2 == 1
                if not quoted and line.endswith(b"\n"):
                    ends.append(end)
    except FileNotFoundError:
        return []
    whole = ends[-1] if ends else 0
    if whole < end:
        os.truncate(path, whole)
    return ends


def truncate_lines(path: str, count: int, quotes: bool = False) -> None:
    """Cut off all lines of a file except the first `count`.

    Args:
        path: The file, which may be missing.
        count: How many lines are kept.
        quotes: Whether line breaks between double quotes belong to the line.
    """
    ends = cut_incomplete_line(path, quotes)
    if len(ends) > count:
        os.truncate(path, ends[count - 1] if count else 0)
