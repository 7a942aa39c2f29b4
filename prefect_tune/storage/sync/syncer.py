"""`Syncer`: base class of users' own ways to copy an experiment directory to storage."""

from __future__ import annotations

import abc
import logging
import time
from typing import Any

log = logging.getLogger(__name__)


class Syncer(abc.ABC):
    """Base class of objects that copy directories to and from storage.

    Implement the three methods; each may copy at once or begin to copy and return. Give an object
    of the class as ``SyncConfig(upload_dir=..., syncer=...)``: it then replaces the built-in copy
    of everything in the experiment directory.

    Args:
        sync_period: Seconds between uploads during a run.
    """

    def __init__(self, sync_period: float = 300.0) -> None:
        self.sync_period = sync_period
        self.last_sync_up_time = float("-inf")
        self.last_sync_down_time = float("-inf")

    @abc.abstractmethod
    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        """Copy a local directory to storage.

        Args:
            local_dir: The local directory.
            remote_dir: Where to.
            exclude: Patterns of names that are left out.

        Returns:
            True if it was begun or done, False if one is still under way.
        """

    @abc.abstractmethod
    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        """Copy from storage to a local directory.

        Args:
            remote_dir: Where from.
            local_dir: The local directory.
            exclude: Patterns of names that are left out.

        Returns:
            As `sync_up`.
        """

    @abc.abstractmethod
    def delete(self, remote_dir: str) -> bool:
        """Delete the directory `remote_dir` in storage; return True if that was begun or done."""

    def retry(self) -> None:
        """Repeat the last copy or deletion, which failed.

        Raises:
            NotImplementedError: If the class does not implement it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement retry().")

    def wait(self, timeout: float | None = None) -> Any:  # noqa: B027 (only some have to)
        """Wait until the copy or deletion that was begun is done; raise if it failed.

        Args:
            timeout: Seconds to wait at most.
        """

    def wait_or_retry(
        self, max_retries: int = 3, backoff_s: float = 5.0, timeout: float | None = None
    ) -> None:
        """Wait until the last copy or deletion is done; if it fails, retry it.

        Args:
            max_retries: How many times to retry.
            backoff_s: Seconds between tries.
            timeout: Seconds to wait for each try.

        Raises:
            RuntimeError: If the last try failed too.
        """
        for attempt in range(max_retries + 1):
            try:
                if attempt:
                    self.retry()
                self.wait(timeout) if timeout is not None else self.wait()
            except NotImplementedError:
                raise
            except Exception as error:
                if attempt == max_retries:
                    raise RuntimeError(
                        f"{type(self).__name__} failed {attempt + 1} times; the last: {error}"
                    ) from error
                log.warning("%s failed and is tried again: %s", type(self).__name__, error)
                time.sleep(backoff_s)
            else:
                return

    def sync_up_if_needed(
        self, local_dir: str, remote_dir: str, exclude: list[str] | None = None
    ) -> bool:
        """Call `sync_up`, unless it was called less than `sync_period` ago."""
        now = time.monotonic()
        if now - self.last_sync_up_time < self.sync_period:
            return False
        self.last_sync_up_time = now
        return self.sync_up(local_dir, remote_dir, exclude)

    def sync_down_if_needed(
        self, remote_dir: str, local_dir: str, exclude: list[str] | None = None
    ) -> bool:
        """Call `sync_down`, unless it was called less than `sync_period` ago."""
        now = time.monotonic()
        if now - self.last_sync_down_time < self.sync_period:
            return False
        self.last_sync_down_time = now
        return self.sync_down(remote_dir, local_dir, exclude)

    def reset(self) -> None:
        """Reset the times of the last syncs, so that the next one is made at once."""
        self.last_sync_up_time = self.last_sync_down_time = float("-inf")

    def close(self) -> None:  # noqa: B027 (only some have to)
        """Release the syncer's resources."""
