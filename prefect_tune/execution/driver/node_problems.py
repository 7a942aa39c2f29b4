"""Tells users why trials fail on some nodes, and why checkpoints wait there."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import ClusterError
from prefect_tune.execution.base import Fail
from prefect_tune.execution.protocol.reports import StorageOutage
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.storage.journal.background_worker import Outage

_logger = logging.getLogger(__name__)
_FILE = re.compile(r"No such file or directory: '([^']+)'$")
_MODULE = re.compile(r"No module named '(\w+)'$")


class DriverOnlyFiles:
    """Explains errors of trials that lack a file or module which only the driver's machine has.

    Args:
        cwd: Working directory of the driver.
        fail: Ends the experiment.
    """

    def __init__(self, cwd: str, fail: Fail) -> None:
        self._cwd = cwd
        self._fail = fail
        #: By node: its machine's name, and a text with working directory and module path there.
        self._elsewhere: dict[str, tuple[str, str]] = {}
        self._warned_of: set[str] = set()

    def add_node(self, address: str, said: Mapping[str, Any]) -> None:
        """Add a node, as its agent has described itself."""
        if not said["shared"] or said["hostname"] != socket.gethostname():
            self._elsewhere[address] = said["hostname"], said["places"]

    def explain(
        self, address: str, error: AttemptError, have_reported: bool
    ) -> tuple[Outcome, AttemptError]:
        """Return how an attempt has failed; the error names what only the driver's machine has.

        All trials would fail for that reason, so the experiment ends unless one has reported.
        """
        lacks = address in self._elsewhere and only_on_driver(
            error, self._cwd, *self._elsewhere[address]
        )
        if not lacks:
            return Outcome.FAILED, error
        if not have_reported:
            text = f"a trial on the worker at {address} has failed with {error}: {lacks}."
            self._fail(ClusterError(f"`trainable`: {text}"))
            return Outcome.LOST, AttemptError("lost", text)
        if (what := lacks.partition(" (")[0]) not in self._warned_of:
            self._warned_of.add(what)
            _logger.warning("A trial on the worker at %s has failed: %s.", address, lacks)
        return Outcome.FAILED, replace(error, message=f"{error.message} ({lacks})")


def only_on_driver(error: AttemptError, cwd: str, hostname: str, places: str) -> str:
    """Return a text that names what a trial lacks and the driver has, and what to do.

    Args:
        error: The error of the trial.
        cwd: Working directory of the driver.
        hostname: Name of the trial's machine.
        places: Text with the working directory and module path of a process there.

    Returns:
        The text; "" if the error is another one, or the driver lacks it, too.
    """
    if error.kind == "FileNotFoundError" and (found := _FILE.search(error.message)):
        path = os.path.join(cwd, found[1])
        if os.path.lexists(path):
            worker = places.partition(", looks in")[0]
            return (
                f"{path} is there on the driver's machine, and host {hostname} does not see it "
                f"({worker}). Put it where all workers see it under that path, read it from "
                "object storage, or send its content by tune.with_parameters(trainable, data=...)"
            )
    elif error.kind == "ModuleNotFoundError" and (found := _MODULE.search(error.message)):
        spec = None
        with contextlib.suppress(ValueError):  # an imported module without one
            spec = importlib.util.find_spec(found[1])
        if spec is not None:
            return (
                f"the module {found[1]!r} is there on the driver's machine ({spec.origin}), and "
                f"host {hostname} lacks it ({places}). Install it on every worker; of modules "
                "beside the script the source goes along"
            )
    return ""


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
