"""Records the time up to which storage has all files of a local directory."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from prefect_tune.atomic_write import write_atomic
from prefect_tune.filesystem.names import temporary_name

log = logging.getLogger(__name__)

#: Holds the mark; exists only in the local directory.
MARK_FILE = ".copied"


class UploadMark:
    """Time of the last complete upload of a local directory, kept in a file.

    Times are those of the directory's own file system, so no other clock matters.
    Without a mark, or if it cannot be written, every file may have changed.

    Args:
        directory: The local directory.
        url: The directory's copy in storage; a mark for another URL is ignored.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._path = directory / MARK_FILE
        self._url = url

    def now(self) -> int:
        """Return the file system's time in nanoseconds; 0 if it cannot be read."""
        probe = self._directory / temporary_name(MARK_FILE)
        try:
            probe.touch()
            try:
                return probe.stat().st_mtime_ns
            finally:
                probe.unlink()
        except OSError as error:
            log.debug("Cannot read the file system's time in %s: %s", self._directory, error)
            return 0

    def set(self, moment: int) -> None:
        """Record that storage has everything that was written before a moment.

        Args:
            moment: A return value of `now`; 0 leaves the mark as it is.
        """
        if not moment:
            return
        try:
            write_atomic(self._path, f"{moment} {self._url}".encode())
        except OSError as error:
            log.debug("%s could not be written: %s", self._path, error)

    def read(self) -> int:
        """Return the moment of the mark; 0 if there is no mark."""
        try:
            moment, _, url = self._path.read_text().partition(" ")
            return int(moment) if url == self._url else 0
        except (OSError, ValueError):
            return 0


def changed_at(status: os.stat_result) -> int:
    """Return the time in nanoseconds at which a file's content or name changed.

    A rename changes the ctime only.
    """
    return max(status.st_mtime_ns, status.st_ctime_ns)
