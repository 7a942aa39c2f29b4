"""The checkpoints that one attempt has handed over to its node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from prefect_tune.execution.checkpoints.route import CheckpointRoute
from prefect_tune.execution.protocol.reports import Outbox


class HandedOver:
    """Sends the checkpoints of an attempt on their way, and reports what becomes of them.

    Args:
        trial_id: Its trial.
        attempt: Its number.
        trial_dir: The trial's directory on this node.
        relative_dir: The same relative to the experiment directory.
        route: Takes them to storage.
        outbox: Where reports go.
    """

    def __init__(
        self,
        trial_id: str,
        attempt: int,
        trial_dir: Path,
        relative_dir: str,
        route: CheckpointRoute,
        outbox: Outbox,
    ) -> None:
        self._trial_id = trial_id
        self._attempt = attempt
        self._trial_dir = trial_dir
        self._relative_dir = relative_dir
        self._route = route
        self._outbox = outbox
        self._on_their_way: dict[asyncio.Future[str], str] = {}

    @property
    def uploading(self) -> list[str]:
        """Those that are not in storage yet, by path relative to the experiment directory."""
        return list(self._on_their_way.values())

    def take(self, name: str, line: bytes, settled: Callable[[], None]) -> None:
        """Take one over.

        Args:
            name: Name of its directory below the trial's.
            line: The result that it belongs to, a JSON text.
            settled: Called once it is in storage and the driver knows, or is given up.
        """
        path = f"{self._relative_dir}/{name}"
        kept = self._route.keep(self._trial_id, self._attempt, path, self._trial_dir / name)

        def settle(_: asyncio.Future[str]) -> None:
            self._on_their_way.pop(kept, None)
            problem = kept.result()
            if problem:
                self._outbox.checkpoint_failed(self._trial_id, self._attempt, path, problem)
                settled()
            else:
                self._outbox.checkpoint_saved(self._trial_id, self._attempt, path, line, settled)

        if kept.done():
            # Now, not in the loop's next turn: it comes before whatever the trial says next.
            settle(kept)
        else:
            self._on_their_way[kept] = path
            kept.add_done_callback(settle)
