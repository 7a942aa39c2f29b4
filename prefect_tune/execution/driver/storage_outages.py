"""`StorageOutages`: warns once when nodes cannot reach storage."""

from __future__ import annotations

import logging

from prefect_tune.execution.protocol.reports import StorageOutage
from prefect_tune.storage.journal.background_worker import Outage

_logger = logging.getLogger(__name__)


class StorageOutages:
    """Logs when nodes cannot reach storage, and when all can reach it again.

    A node's own log is rarely looked at, and an outage is rarely that of one node.
    """

    def __init__(self) -> None:
        self._nodes: set[str] = set()
        self._outage = Outage()

    def on_report(self, address: str, report: StorageOutage) -> None:
        """Handle a node's report about an outage of storage or its end."""
        if not report.problem:
            lasted = self._reached(address)
            if lasted is not None:
                _logger.warning(
                    "Checkpoints get to storage again after %.0f s; waiting ones are uploaded now.",
                    lasted,
                )
            return
        self._nodes.add(address)
        if self._outage.begin():
            _logger.warning(
                "Checkpoints do not get to storage from %s: %s The sweep continues; they stay on "
                "their nodes until then. Trials with too many waiting checkpoints wait, too.",
                address,
                report.problem,
            )

    def lose_node(self, address: str) -> None:
        """Forget the outage of a lost node."""
        self._reached(address)

    def _reached(self, address: str) -> float | None:
        """Remove a node's outage; return how long the outage lasted if it was the last one."""
        self._nodes.discard(address)
        return None if self._nodes else self._outage.end()
