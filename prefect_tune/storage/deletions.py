"""Deletes checkpoints that the experiment no longer needs, in a background thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.filesystem.location import is_absolute
from prefect_tune.filesystem.transfers import run_all
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.journal.background_worker import BackgroundWorker

log = logging.getLogger(__name__)

_RETRY_S = 10.0
#: One deletion takes several requests in a row, and trials write faster than one at a time allows.
_PARALLEL = 8


class Deletions(BackgroundWorker):
    """Thread that deletes checkpoints, several in parallel.

    Args:
        stores: Where a checkpoint is deleted: the experiment directory and its copy in storage.
        cancelled: Event that ends the thread from outside; nothing is deleted after it is set.
    """

    def __init__(
        self, stores: Sequence[CheckpointStore], cancelled: threading.Event | None = None
    ) -> None:
        super().__init__("checkpoint-deletion", "old checkpoints are deleted", cancelled)
        self._stores = stores
        self._queue: deque[str] = deque()
        self._deleting = 0

    def delete(self, rel: str) -> None:
        """Queue a checkpoint for deletion.

        Args:
            rel: Its path relative to the experiment directory. Any other (a URL, an absolute path)
                is not the experiment's own checkpoint and is not deleted.
        """
        if not is_absolute(rel) and ".." not in rel.split("/"):
            with self._changed:
                self._queue.append(rel)
                self._changed.notify_all()

    def close(self, idle_s: float, total_s: float | None = None) -> None:
        """Delete the queued checkpoints and end the thread.

        Args:
            idle_s: Seconds to wait at most while nothing is deleted; the rest then stays.
            total_s: Seconds to wait at most; None waits as long as deletions make progress.
        """
        with self._changed:
            self._wait_until(lambda: not self._queue and not self._deleting, idle_s, total_s)
        self.stop()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or self._must_end)
                if self._must_end:
                    return
                batch = [self._queue.popleft() for _ in range(min(_PARALLEL, len(self._queue)))]
                self._deleting = len(batch)
            run_all([partial(self._delete_everywhere, rel) for rel in batch], _PARALLEL)

    def _delete_everywhere(self, rel: str) -> None:
        for store in self._stores:
            self._delete(store, rel)
        with self._changed:
            self._deleting -= 1
        self._note_progress()

    def _delete(self, store: CheckpointStore, rel: str) -> None:
        warned = False
        while not self._must_end:
            try:
                store.delete(rel)
            except StorageUnavailable as error:
                if not warned:
                    warned = True
                    log.debug("%s is not deleted yet: %s", store.url(rel), error)
                self._cancelled.wait(_RETRY_S)
            except StorageError as error:
                log.warning("An old checkpoint stays: %s", error)
                return
            except Exception:
                # An error must not end the thread, or later checkpoints would never be deleted.
                log.exception("The old checkpoint %s stays.", store.url(rel))
                return
            else:
                return
