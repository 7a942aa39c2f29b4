"""Deletes checkpoints that nobody needs any more, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.location import is_absolute
from prefect_tune.filesystem.remote import run_all
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.background_worker import BackgroundWorker

log = logging.getLogger(__name__)

_RETRY_S = 10.0
#: A deletion is several requests, one after the other; trials of many nodes write faster than that.
_AT_ONCE = 8


class Deletions(BackgroundWorker):
    """A thread that deletes checkpoints, several at once.

    Args:
        places: Where a checkpoint is deleted: in the experiment directory and in storage.
        cancelled: Set from outside: nothing is deleted any more.
    """

    def __init__(
        self, places: Sequence[CheckpointStore], cancelled: threading.Event | None = None
    ) -> None:
        super().__init__("checkpoint-deletion", "old checkpoints are deleted", cancelled)
        self._places = places
        self._queue: deque[str] = deque()
        self._deleting = 0

    def delete(self, rel: str) -> None:
        """Delete a checkpoint soon.

        Args:
            rel: Its path relative to the experiment directory. One of somewhere else (a URL, an
                absolute path) is not ours and stays.
        """
        if not is_absolute(rel) and ".." not in rel.split("/"):
            with self._changed:
                self._queue.append(rel)
                self._changed.notify_all()

    def close(self, idle_s: float, total_s: float | None = None) -> None:
        """Delete what is left, and end the thread.

        Args:
            idle_s: Seconds to wait at most while nothing is deleted; what is left then stays.
            total_s: Seconds to wait at most; None is as long as it goes on.
        """
        with self._changed:
            self._wait_until(lambda: not self._queue and not self._deleting, idle_s, total_s)
        self.stop()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or self._is_over)
                if self._is_over:
                    return
                batch = [self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue)))]
                self._deleting = len(batch)
            run_all([self._job(rel) for rel in batch], _AT_ONCE)

    def _job(self, rel: str) -> Callable[[], None]:
        def delete() -> None:
            for place in self._places:
                self._delete(place, rel)
            with self._changed:
                self._deleting -= 1
            self._advance()

        return delete

    def _delete(self, place: CheckpointStore, rel: str) -> None:
        told = False
        while not self._is_over:
            try:
                place.delete(rel)
            except StorageUnavailable as error:
                if not told:
                    told = True
                    log.debug("%s is not deleted yet: %s", place.url(rel), error)
                self._cancelled.wait(_RETRY_S)
            except StorageError as error:
                log.warning("An old checkpoint stays: %s", error)
                return
            except Exception:
                # Nothing that happens here may end the thread, and with it all later deletions.
                log.exception("The old checkpoint %s stays.", place.url(rel))
                return
            else:
                return
