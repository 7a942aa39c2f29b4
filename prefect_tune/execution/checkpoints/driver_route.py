"""Checkpoints of a node that shares no file system with the driver: the driver fetches them."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path, PurePosixPath

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.checkpoints.local_copies import LocalCopies
from prefect_tune.execution.checkpoints.route import resolved
from prefect_tune.execution.files.node_directory import FETCHED, is_elsewhere
from prefect_tune.execution.protocol.reports import KEEP, WANT, Outbox

_Answer = asyncio.Future[StorageError | None]


class DriverRoute:
    """See `CheckpointRoute`. The driver is asked in reports, and answers by `settle`.

    Args:
        directory: The experiment's directory on this node.
        outbox: Where reports go.
    """

    def __init__(self, directory: Path, outbox: Outbox) -> None:
        self._directory = directory
        self._outbox = outbox
        self._asked: dict[tuple[str, str], _Answer] = {}
        self._copies = LocalCopies()

    def keep(self, trial_id: str, attempt: int, path: str, directory: Path) -> asyncio.Future[str]:
        """See `CheckpointRoute.keep`."""
        kept: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def settled(answer: _Answer) -> None:
            error = answer.result()
            self._copies.add(path, directory, stored=error is None)
            kept.set_result("" if error is None else str(error))

        self._ask(KEEP, path).add_done_callback(settled)
        return kept

    async def fetch(self, path: str) -> Path:
        """See `CheckpointRoute.fetch`."""
        # From here on, so that nobody deletes it while it is looked at.
        self._copies.use(path)
        try:
            return await self._find(path)
        except BaseException:
            self._copies.release(path)
            raise

    def release(self, path: str) -> None:
        """See `CheckpointRoute.release`."""
        self._copies.release(path)

    def forget(self, trial_dir: str) -> None:
        """See `CheckpointRoute.forget`."""
        self._copies.forget(trial_dir)

    def settle(self, question: str, path: str, problem: str, damaged: bool) -> None:
        """The driver's answer.

        Args:
            question: `KEEP` or `WANT`.
            path: The checkpoint.
            problem: Why it cannot be; "" if it is done.
            damaged: The problem is the checkpoint itself.
        """
        answer = self._asked.pop((question, path), None)
        if answer is not None:
            kind = CheckpointUnreadable if damaged else StorageError
            answer.set_result(kind(problem) if problem else None)

    async def close(self, patience: float) -> None:
        """See `CheckpointRoute.close`; the driver has waited, or is gone."""
        for question, path in list(self._asked):
            self.settle(question, path, "the experiment was closed before it was done", False)
        await self._copies.settle()

    async def _find(self, path: str) -> Path:
        copy = self._copies.find(path)
        if copy is None and is_elsewhere(path):
            copy = Path(path)  # maybe on a file system that this node does share
        if copy is not None and not await asyncio.to_thread(verify, copy):
            return copy
        to = _place(path)
        # Others may wait for the same, and whoever waits may be called off.
        error = await asyncio.shield(self._ask(WANT, path, to))
        if error is not None:
            raise error
        directory = self._directory / to
        self._copies.add(path, directory)
        return directory

    def _ask(self, question: str, path: str, to: str = "") -> _Answer:
        """Ask the driver, unless it has been asked."""
        answer = self._asked.get((question, path))
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
            self._asked[question, path] = answer
            self._outbox.ask(question, path, to)
        return answer


class NoRoute:
    """A `CheckpointRoute` that leads nowhere: what the node writes does not reach the driver.

    Args:
        reason: Why, for people.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def keep(self, trial_id: str, attempt: int, path: str, directory: Path) -> asyncio.Future[str]:
        """See `CheckpointRoute.keep`."""
        return resolved(self._reason)

    async def fetch(self, path: str) -> Path:
        """See `CheckpointRoute.fetch`."""
        raise StorageError(self._reason)

    def release(self, path: str) -> None:
        """See `CheckpointRoute.release`."""

    def forget(self, trial_dir: str) -> None:
        """See `CheckpointRoute.forget`."""

    async def close(self, patience: float) -> None:
        """See `CheckpointRoute.close`."""


def _place(path: str) -> str:
    """Where a checkpoint that the driver brings goes, below the experiment's directory."""
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    return f"{FETCHED}/{digest}/{PurePosixPath(path).name}"
