"""`GpuClaims`: which GPUs of a host one of its Dask workers gives to trials."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefect_tune.execution.cluster.gpus import Device
from prefect_tune.execution.files.node_directory import user_directory

_logger = logging.getLogger(__name__)
_SUFFIX = ".gpu"


class GpuClaims:
    """GPUs that the workers of a cluster on one host have divided among themselves.

    A claimed GPU is a locked file, so a worker that is killed gives up its GPUs. Workers in other
    containers, and those of other users or clusters, are not seen.

    Args:
        cluster: Address of the scheduler.
    """

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._locks: dict[Path, int] = {}

    def claim(self, devices: Sequence[Device], declared: float) -> tuple[Device, ...]:
        """Claim the first GPUs that no other worker of the cluster has.

        Args:
            devices: The GPUs that the worker may use.
            declared: How many it declares; workers that declare less than 1 share one.

        Returns:
            The claimed GPUs, fewer than declared if there are no more.
        """
        if not devices or not declared:
            return ()
        try:
            with _locked_directory() as directory:
                for path in directory.glob(f"*{_SUFFIX}"):
                    _remove_if_free(path)
                return tuple(self._claim(directory, devices, declared))
        except OSError as error:
            _logger.warning(
                "GPUs are not divided among the Dask workers of this host: %s. Give each worker "
                "its own by CUDA_VISIBLE_DEVICES.",
                error,
            )
            return tuple(devices[: math.ceil(declared)])

    def _claim(
        self, directory: Path, devices: Sequence[Device], declared: float
    ) -> Iterator[Device]:
        mode = fcntl.LOCK_EX if declared >= 1 else fcntl.LOCK_SH
        for device in devices:
            name = hashlib.sha256(f"{self._cluster} {device.key}".encode()).hexdigest()[:16]
            path = directory / f"{name}{_SUFFIX}"
            lock = _lock(path, mode)
            if lock is not None:
                self._locks[path] = lock
                yield device
            if len(self._locks) >= declared:
                return

    def release(self) -> None:
        """Give up all claimed GPUs."""
        if not self._locks:
            return
        with _locked_directory():
            while self._locks:
                path, lock = self._locks.popitem()
                os.close(lock)
                _remove_if_free(path)


@contextmanager
def _locked_directory() -> Iterator[Path]:
    """Enter the directory of the locks, in which no other worker makes or removes any meanwhile."""
    directory = user_directory()
    with open(directory / "gpus", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield directory


def _lock(path: Path, mode: int) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _remove_if_free(path: Path) -> None:
    lock = _lock(path, fcntl.LOCK_EX)
    if lock is not None:
        path.unlink()
        os.close(lock)
