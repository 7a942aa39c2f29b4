"""Up to when storage is known to have what a local directory has."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from prefect_tune.atomic_write import write_atomic
from prefect_tune.filesystem.names import temporary_name

log = logging.getLogger(__name__)

#: Keeps the mark, in the local directory alone.
MARK_FILE = ".copied"


class UploadMark:
    """Says of files whether they may have changed since all of them were in storage.

    Times are those of the directory's own file system, so no other clock has to agree with them.
    Without a mark, or if it cannot be written, every file may have changed.

    Args:
        directory: The local directory.
        url: Its counterpart in storage; a mark that was made for another one is none.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._path = directory / MARK_FILE
        self._url = url

    def now(self) -> int:
        """The file system's time, in nanoseconds; 0 if it does not say."""
        probe = self._directory / temporary_name(MARK_FILE)
        try:
            probe.touch()
            try:
                return probe.stat().st_mtime_ns
            finally:
                probe.unlink()
        except OSError as error:
            log.debug("No time could be had of %s: %s", self._directory, error)
            return 0

    def set(self, moment: int) -> None:
        """Note that storage has everything from before a moment.

        Args:
            moment: From `now`; 0 leaves the mark as it is.
        """
        if not moment:
            return
        try:
            write_atomic(self._path, f"{moment} {self._url}".encode())
        except OSError as error:
            log.debug("%s could not be written: %s", self._path, error)

    def read(self) -> int:
        """The moment that was noted last, 0 if there is none."""
        try:
            moment, _, url = self._path.read_text().partition(" ")
            return int(moment) if url == self._url else 0
        except (OSError, ValueError):
            return 0


def changed_at(status: os.stat_result) -> int:
    """When a file got its contents or its name, in nanoseconds.

    A rename leaves the time of the contents as it was.
    """
    return max(status.st_mtime_ns, status.st_ctime_ns)
