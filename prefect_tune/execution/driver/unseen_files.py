"""Tells that a trial has failed because only the driver's machine has a file or a module."""

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
from prefect_tune.experiment.attempt import AttemptError

_logger = logging.getLogger(__name__)
_FILE = re.compile(r"No such file or directory: '([^']+)'$")
_MODULE = re.compile(r"No module named '(\w+)'$")


class UnseenFiles:
    """Explains errors of trials on other machines than the driver's.

    Args:
        cwd: Working directory of the driver.
        fail: Ends the experiment.
    """

    def __init__(self, cwd: str, fail: Fail) -> None:
        self._cwd = cwd
        self._fail = fail
        #: Name of each other machine, and where a process there works and looks for modules.
        self._elsewhere: dict[str, tuple[str, str]] = {}
        self._told: set[str] = set()

    def add_node(self, address: str, said: Mapping[str, Any]) -> None:
        """Add a node by what its agent has said of it."""
        if not said["shared"] or said["hostname"] != socket.gethostname():
            self._elsewhere[address] = said["hostname"], said["places"]

    def explain(
        self, address: str, error: AttemptError, have_reported: bool
    ) -> tuple[Outcome, AttemptError]:
        """Return how an attempt has failed, with what only the driver's machine has.

        All trials would fail of it: unless one has reported a result, the experiment ends.
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
        if (what := lacks.partition(" (")[0]) not in self._told:
            self._told.add(what)
            _logger.warning("A trial on the worker at %s has failed: %s.", address, lacks)
        return Outcome.FAILED, replace(error, message=f"{error.message} ({lacks})")


def only_on_driver(error: AttemptError, cwd: str, hostname: str, places: str) -> str:
    """Return what a trial lacks on another machine and the driver has, and what to do.

    Args:
        error: The error of the trial.
        cwd: Working directory of the driver.
        hostname: Name of the other machine.
        places: Where a process there works and looks for modules.

    Returns:
        A text; "" if the error is another one, or the driver lacks it, too.
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
