"""Route of a node without shared or remote storage: the driver fetches its checkpoints."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from typing_extensions import override

from prefect_tune.checkpoint.manifest import verify
from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.checkpoints.route import CopyingRoute
from prefect_tune.execution.files.node_directory import FETCHED
from prefect_tune.execution.protocol.reports import (
    CheckpointRequest,
    CopyToDriver,
    CopyToNode,
    Outbox,
)
from prefect_tune.filesystem.location import is_absolute

_Answer = asyncio.Future[StorageError | None]


@dataclass(eq=False)
class DriverRoute(CopyingRoute):
    """Route that asks the driver to copy checkpoints; the driver answers by calling `on_answer`.

    Args:
        directory: The experiment's directory on this node.
        outbox: Queue of reports to the driver.
    """

    directory: Path
    outbox: Outbox
    #: Requests without an answer, by their kind (True for an upload) and the checkpoint's path.
    _asked: dict[tuple[bool, str], _Answer] = field(init=False, default_factory=dict)

    @override
    def upload(self, path: str, directory: Path) -> asyncio.Future[str]:
        uploaded: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_done(answer: _Answer) -> None:
            error = answer.result()
            self._copies.add(path, directory, stored=error is None)
            uploaded.set_result("" if error is None else str(error))

        self._ask(CopyToDriver(path)).add_done_callback(on_done)
        return uploaded

    def on_answer(self, is_upload: bool, path: str, problem: str, damaged: bool) -> None:
        """Handle the driver's answer to a request.

        Args:
            is_upload: True if the driver was to fetch the checkpoint, False if it was to send it.
            path: Path of the checkpoint.
            problem: Why the request failed; "" if it is done.
            damaged: True if it failed because the checkpoint is damaged.
        """
        answer = self._asked.pop((is_upload, path), None)
        if answer is not None:
            kind = CheckpointUnreadable if damaged else StorageError
            answer.set_result(kind(problem) if problem else None)

    @override
    async def close(self, patience: float) -> None:
        # The driver has waited for its transfers, or is gone.
        for is_upload, path in list(self._asked):
            self.on_answer(is_upload, path, "the experiment was closed before it was done", False)
        await self._copies.close()

    @override
    async def _get(self, path: str) -> Path:
        # It may be on a file system that this node shares.
        if is_absolute(path) and not await asyncio.to_thread(verify, Path(path)):
            return Path(path)
        digest = hashlib.sha256(path.encode()).hexdigest()[:16]
        to = f"{FETCHED}/{digest}/{PurePosixPath(path).name}"
        # The caller may be cancelled while others wait for the same checkpoint.
        error = await asyncio.shield(self._ask(CopyToNode(path, to)))
        if error is not None:
            raise error
        directory = self.directory / to
        self._copies.add(path, directory)
        return directory

    def _ask(self, request: CheckpointRequest) -> _Answer:
        """Send a request to the driver, unless the same one is waiting for its answer."""
        key = (isinstance(request, CopyToDriver), request.path)
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
            self.outbox.put(request)
        return self._asked[key]
