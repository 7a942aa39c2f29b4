"""Thread that uploads what a run writes, again and again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from prefect_tune.error import StorageError, StorageUnavailable
from prefect_tune.storage.journal.background_worker import BackgroundWorker

log = logging.getLogger(__name__)

#: Seconds between tries while a caller waits for one that succeeds.
_POLL_S = 0.5

#: Uploads what is new; calls its argument after each part, and raises `StorageError`.
Upload = Callable[[Callable[[], None]], object]


class Uploader(BackgroundWorker):
    """Thread that uploads periodically, and at once when `flush` is called.

    It may be stopped at any moment: what is not uploaded is still on this machine's disk.

    Args:
        upload: The way to upload.
        what: What is uploaded, for messages: ``the journal``.
        target: Where it is uploaded to, for messages.
        period_s: Seconds between uploads.
        first_s: Seconds before the first upload.
        retry_s: Seconds after which a failed upload is tried again, while `flush` goes on waiting;
            None tries again after `period_s`, and lets `flush` return the error.
        cancelled: Event that ends the thread from outside; nothing is uploaded after it is set.
    """

    def __init__(
        self,
        upload: Upload,
        what: str,
        target: str,
        period_s: float,
        *,
        first_s: float = 0.0,
        retry_s: float | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        goal = f"the copy of {what} in {target} is complete"
        super().__init__(f"upload of {what}", goal, cancelled)
        self._upload = upload
        self._what = what
        self._target = target
        self._period_s = period_s
        self._first_s = first_s
        self._retry_s = retry_s
        self._requested = 0
        self._completed = 0
        self._waiters = 0
        self._last_error: StorageError | None = None

    def flush(self, idle_s: float, total_s: float | None = None) -> StorageError | None:
        """Upload now, and wait until it is done.

        Args:
            idle_s: Seconds to wait at most while nothing is uploaded.
            total_s: Seconds to wait at most; None waits as long as there is progress.

        Returns:
            The error of an incomplete upload; None if storage has everything.
        """
        with self._changed:
            self._requested += 1
            wanted = self._requested
            self._waiters += 1
            self._changed.notify_all()
            try:
                done = self._wait_until(lambda: self._completed >= wanted, idle_s, total_s)
            finally:
                self._waiters -= 1
            return self._last_error if done else StorageUnavailable("it was not done in time.")

    def _work(self) -> None:
        pause = self._first_s
        tried = 0  # how many requests had been made when the last upload began
        while True:
            with self._changed:
                if self._requested == tried and not self._stopping:
                    self._changed.wait(pause)
                if self._must_end:
                    return
                tried = self._requested
            error = self._upload_once()
            with self._changed:
                self._last_error = error
                if error is None or self._retry_s is None:
                    self._completed = tried
                    pause = self._period_s
                else:
                    pause = min(self._retry_s, _POLL_S) if self._waiters else self._retry_s
                self._changed.notify_all()

    def _upload_once(self) -> StorageError | None:
        begun = time.monotonic()
        try:
            self._upload(self._note_progress)
        except StorageError as error:
            if self._outage.begin():
                log.warning(
                    "%s cannot be copied to %s (%s) The sweep continues; what is missing there is "
                    "on this machine's disk, and the copy is tried again every %.0f s.",
                    self._what.capitalize(),
                    self._target,
                    error,
                    self._retry_s or self._period_s,
                )
            return error
        except Exception as error:
            # An error must not end the thread, or nothing would be uploaded any more.
            if self._outage.begin():
                log.exception("Copying %s to %s failed.", self._what, self._target)
            return StorageError(f"{type(error).__name__}: {error}")
        finally:
            log.debug("Copying to %s took %.1f s.", self._target, time.monotonic() - begun)
        away = self._outage.end()
        if away is not None:
            log.warning(
                "The copy of %s in %s has caught up after %.0f s.", self._what, self._target, away
            )
        return None
