"""The checkpoints that one attempt has handed over to its node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from prefect_tune.execution.checkpoints.route import CheckpointRoute
from prefect_tune.execution.protocol.reports import CheckpointUploaded, Outbox, UploadFailed
from prefect_tune.experiment.attempt_key import AttemptKey


class CheckpointHandoff:
    """Takes the checkpoints of an attempt over, has them uploaded and reports what comes of it.

    Args:
        key: The attempt.
        trial_dir: The trial's directory on this node.
        relative_dir: The same relative to the experiment directory.
        route: Takes them to storage.
        outbox: Where reports go.
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
        """Those that are not in storage yet, by path relative to the experiment directory."""
        return tuple(self._uploads.values())

    def hand_over(self, name: str, line: bytes, on_done: Callable[[], None]) -> None:
        """Take one over.

        Args:
            name: Name of its directory below the trial's.
            line: The result that it belongs to, a JSON text.
            on_done: Called once it is in storage and the driver knows, or is given up.
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
            # Now, not in the loop's next turn: it comes before whatever the trial says next.
            report(upload)
        else:
            self._uploads[upload] = path
            upload.add_done_callback(report)
