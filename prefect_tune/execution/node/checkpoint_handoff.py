"""`CheckpointHandoff`: uploads the checkpoints that an attempt hands over to its node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from prefect_tune.execution.checkpoints.route import CheckpointRoute
from prefect_tune.execution.protocol.reports import CheckpointUploaded, Outbox, UploadFailed
from prefect_tune.experiment.attempt import AttemptKey


class CheckpointHandoff:
    """Takes over an attempt's checkpoints, uploads them and reports the outcome.

    Args:
        key: Key of the attempt.
        trial_dir: The trial's directory on this node.
        relative_dir: The trial's directory relative to the experiment directory.
        route: Uploads the checkpoints.
        outbox: Queue of reports to the driver.
    """

    def __init__(
        self,
        key: AttemptKey,
        trial_dir: Path,
        relative_dir: str,
        route: CheckpointRoute,
        outbox: Outbox,
    ) -> None:
        self._key = key
        self._trial_dir = trial_dir
        self._relative_dir = relative_dir
        self._route = route
        self._outbox = outbox
        self._uploads: dict[asyncio.Future[str], str] = {}

    @property
    def uploading(self) -> tuple[str, ...]:
        """Paths of checkpoints that are still uploading, relative to the experiment directory."""
        return tuple(self._uploads.values())

    async def uploaded(self) -> None:
        """Wait until none is on its way."""
        while self._uploads:
            await asyncio.wait(self._uploads)

    def hand_over(self, name: str, line: bytes, on_done: Callable[[], None]) -> None:
        """Take over a checkpoint and start its upload.

        Args:
            name: Name of the checkpoint's directory in the trial's directory.
            line: The checkpoint's result, as JSON.
            on_done: Called once the driver knows of the uploaded checkpoint, or the upload failed.
        """
        path = f"{self._relative_dir}/{name}"
        upload = self._route.upload(path, self._trial_dir / name)

        def report(_: asyncio.Future[str]) -> None:
            self._uploads.pop(upload, None)
            problem = upload.result()
            if problem:
                self._outbox.put(UploadFailed(self._key, path, problem), urgent=False)
                on_done()
            else:
                uploaded = CheckpointUploaded(self._key, path, line)
                self._outbox.put(uploaded, nbytes=len(line), arrived=on_done)

        if upload.done():
            # At once, so that this report precedes the trial's next ones.
            report(upload)
        else:
            self._uploads[upload] = path
            upload.add_done_callback(report)
