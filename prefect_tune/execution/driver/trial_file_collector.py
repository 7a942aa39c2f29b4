"""`TrialFileCollector`: copies files of trials from nodes into their directories on the driver."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from prefect_tune.error import CheckpointUnreadable, StorageError
from prefect_tune.execution.driver.trial_files import STREAMS, TrialFiles
from prefect_tune.execution.files.chunked_copy import LocalDirectory, Transfers
from prefect_tune.execution.files.node_client import NodeClient

_logger = logging.getLogger(__name__)
#: Trials whose files are fetched in parallel.
_MAX_PARALLEL = 8
_SHORTEST_PERIOD_S = 0.1


class TrialFileCollector:
    """Fetches the files of trials' directories on nodes: periodically, and when an attempt ends.

    Only what is new travels. Belongs to the client's event loop.

    Args:
        here: The experiment directory.
        transfers: Limits the memory of copies.
        period_s: Seconds between two checks of a running trial.
        timeout_s: Seconds after which a check is given up.
        streams: See `TrialFiles`.
    """

    def __init__(
        self,
        here: LocalDirectory,
        transfers: Transfers,
        period_s: float,
        timeout_s: float,
        streams: frozenset[str] = STREAMS,
    ) -> None:
        self._here = here
        self._transfers = transfers
        self._streams = streams
        self._period_s = max(period_s, _SHORTEST_PERIOD_S)
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(_MAX_PARALLEL)
        self._watched: dict[tuple[str, str], NodeClient] = {}
        self._trials: dict[str, TrialFiles] = {}
        self._work: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()

    def watch(self, node: NodeClient, directory: str) -> None:
        """Start to fetch the files that a trial writes on a node."""
        self._watched[node.address, directory] = node
        if self._timer is None:
            self._schedule()

    def unwatch(self, address: str, directory: str) -> None:
        """Fetch new files of a trial once more, and stop."""
        node = self._watched.pop((address, directory), None)
        if node is not None:
            self._collect(node, directory)

    def lose_node(self, address: str) -> None:
        """Stop fetching files of a lost node; files that were fetched stay."""
        for key in [key for key in self._watched if key[0] == address]:
            del self._watched[key]
        for task in self._work.pop(address, set()):
            task.cancel()

    async def close(self, patience: float) -> None:
        """Fetch all new files within `patience` seconds, and stop."""
        if self._timer is not None:
            self._timer.cancel()
        for address, directory in list(self._watched):
            self.unwatch(address, directory)
        tasks = {task for work in self._work.values() for task in work}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=patience)
        for task in late:
            task.cancel()
        if late:
            _logger.warning(
                "Output of %d trials was not fetched from their nodes within %.0f s.",
                len(late),
                patience,
            )
            await asyncio.wait(late)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._period_s, self._collect_all)

    def _collect_all(self) -> None:
        self._schedule()
        for (_, directory), node in self._watched.items():
            trial = self._trials.get(directory)
            # Otherwise requests to a node that does not answer would accumulate.
            if trial is None or not trial.lock.locked():
                self._collect(node, directory)

    def _collect(self, node: NodeClient, directory: str) -> None:
        task = asyncio.get_running_loop().create_task(self._fetch(node, directory))
        tasks = self._work[node.address]
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _fetch(self, node: NodeClient, directory: str) -> None:
        trial = self._trials.get(directory)
        if trial is None:
            trial = TrialFiles(self._here, directory, self._transfers, self._streams)
            self._trials[directory] = trial
        try:
            async with trial.lock, self._turns, asyncio.timeout(self._timeout_s):
                for path, status in (await node.files(directory)).items():
                    await trial.fetch(node, path, status)
        except CheckpointUnreadable:  # a file was removed while we looked
            pass
        except (StorageError, OSError) as error:
            if directory not in self._told:
                self._told.add(directory)
                _logger.warning(
                    "What a trial has written on the worker at %s could not be fetched to %s: %s",
                    node.address,
                    directory,
                    error or f"not done within {self._timeout_s:g} s",
                )
