"""Notices when the connection to a cluster's scheduler is lost, comes back, or never will."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from prefect_tune.execution.cluster.handle import ClusterHandle

_logger = logging.getLogger(__name__)
#: Seconds between two looks.
PERIOD_S = 0.25


class ConnectionListener(Protocol):
    """Whoever needs the scheduler."""

    def on_away(self) -> None:
        """The connection is lost; Dask has forgotten all our tasks and tries to connect again."""
        ...

    async def on_back(self) -> None:
        """It is there again, maybe to another scheduler at the same address."""
        ...

    def on_gone(self) -> None:
        """Dask has given up: nobody will hear of this cluster again."""
        ...


async def watch_scheduler(cluster: ClusterHandle, listener: ConnectionListener) -> None:
    """Tell the listener until the connection is gone; on the client's event loop.

    A client of Dask's has no hook for this, so it is looked at a few times a second. One that was
    lost and made again in between is not missed: it is another one.
    """
    known = cluster.connection
    while not cluster.gone:
        connection = cluster.connection
        if connection is not known:
            if known is not None:
                _logger.warning(
                    "The connection to the Dask scheduler at %s is lost, and with it the trials "
                    "that are running; trying to connect again.",
                    cluster.address,
                )
                listener.on_away()
            if connection is not None:
                cluster.subscribe()
                await listener.on_back()
            known = connection
        await asyncio.sleep(PERIOD_S)
    listener.on_gone()
