"""Deletes checkpoints that nobody needs any more, behind the back of the run."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.storage.checkpoints import CheckpointStore

log = logging.getLogger(__name__)

_RETRY_S = 10.0


class Deletions:
    """A thread that deletes checkpoints one after the other.

    Args:
        places: Where a checkpoint is deleted: in the experiment directory and in storage.
        cancelled: Set from outside: nothing is deleted any more.
    """

    def __init__(
        self, places: Sequence[CheckpointStore], cancelled: threading.Event | None = None
    ) -> None:
        self._places = places
        self._cancelled = cancelled or threading.Event()
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="checkpoint-deletion", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def delete(self, rel: str) -> None:
        """Delete a checkpoint soon.

        Args:
            rel: Its path relative to the experiment directory. One of somewhere else (a URL, an
                absolute path) is not ours and stays.
        """
        if "://" not in rel and not rel.startswith("/") and ".." not in rel.split("/"):
            self._queue.put(rel)

    def close(self, timeout: float) -> None:
        """Delete what is left, and end the thread.

        Args:
            timeout: Seconds to wait at most; what is left then stays.
        """
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._cancelled.is_set():
            rel = self._queue.get()
            if rel is None:
                return
            for place in self._places:
                self._delete(place, rel)

    def _delete(self, place: CheckpointStore, rel: str) -> None:
        failing_since: float | None = None
        while not self._cancelled.is_set():
            try:
                place.delete(rel)
            except StorageUnavailable as error:
                if failing_since is None:
                    failing_since = time.monotonic()
                    log.debug("%s is not deleted yet: %s", place.url(rel), error)
                self._cancelled.wait(_RETRY_S)
            except StorageError as error:
                log.warning("An old checkpoint stays: %s", error)
                return
            else:
                return
