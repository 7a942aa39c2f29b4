"""Uploads that users do themselves: a command, a function or a `Syncer`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

from prefect_tune.error import InvalidArgument, StorageError, StorageUnavailable
from prefect_tune.storage.syncer import Syncer

#: What is left out: it is of this machine.
EXCLUDED = ["*.lock", ".*.tmp*"]
_SHELL = re.compile(r"[|&;<>`$*?()\n]")
_TAIL = 500


class OwnSync(Protocol):
    """Copies the whole experiment directory to or from storage.

    Both raise:
        StorageError: If it fails; says why.
    """

    def up(self, source: str, target: str, timeout: float) -> None:
        """From a local directory to storage."""
        ...

    def down(self, source: str, target: str, timeout: float) -> None:
        """From storage to a local directory."""
        ...


def make_own_sync(value: object, argument: str = "sync_to_cloud") -> OwnSync:
    """What a user gave as a way to sync.

    Args:
        value: A command with ``{source}`` and ``{target}``, ``f(source, target)`` or a `Syncer`.
        argument: The argument to name.

    Raises:
        InvalidArgument: If it is something else.
    """
    if isinstance(value, Syncer):
        return _BySyncer(value)
    if isinstance(value, str):
        return _ByCommand(value, argument)
    if callable(value):
        return _ByFunction(value)
    raise InvalidArgument(
        argument,
        f"got {value!r}.",
        "Give a command with {source} and {target}, a function f(source, target) or a Syncer.",
    )


class _ByCommand:
    def __init__(self, template: str, argument: str) -> None:
        for field in ("{source}", "{target}"):
            if field not in template:
                raise InvalidArgument(
                    argument,
                    f"the command {template!r} has no {field}.",
                    "It needs {source} and {target}: 'aws s3 sync {source} {target}'.",
                )
        self._template = template
        # Directories hold characters that mean something to a shell; it is used only if asked for.
        self._needs_shell = bool(_SHELL.search(template))

    def up(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.up`."""
        command: str | list[str]
        if self._needs_shell:
            command = self._fill(self._template, shlex.quote(source), shlex.quote(target))
        else:
            command = [self._fill(part, source, target) for part in shlex.split(self._template)]
        try:
            process = subprocess.Popen(
                command,
                shell=self._needs_shell,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StorageError(
                f"the command {self._template!r} cannot be run: {error.strerror}."
            ) from error
        with process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                # With everything that a shell has started.
                os.killpg(process.pid, signal.SIGKILL)
                raise StorageUnavailable(
                    f"the command {self._template!r} took longer than {timeout:.0f} s and was "
                    "ended."
                ) from None
        if process.returncode:
            text = output.decode(errors="replace").strip()[-_TAIL:]
            raise StorageError(
                f"the command {self._template!r} ended with {process.returncode}: {text or '-'}"
            )

    def down(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.down`."""
        self.up(source, target, timeout)

    def _fill(self, text: str, source: str, target: str) -> str:
        return text.replace("{source}", source).replace("{target}", target)


class _ByFunction:
    def __init__(self, function: Callable[[str, str], object]) -> None:
        self._function = function

    def up(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.up`; a function cannot be ended."""
        try:
            self._function(source, target)
        except Exception as error:
            # Whatever a user's function raises.
            raise StorageError(
                f"the function of `sync_to_cloud` raised {type(error).__name__}: {error}"
            ) from error

    def down(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.down`."""
        self.up(source, target, timeout)


class _BySyncer:
    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer

    def up(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.up`."""
        self._do(lambda: self._syncer.sync_up(source, target, EXCLUDED), timeout)

    def down(self, source: str, target: str, timeout: float) -> None:
        """See `OwnSync.down`."""
        self._do(lambda: self._syncer.sync_down(source, target), timeout)

    def _do(self, begin: Callable[[], bool], timeout: float) -> None:
        name = type(self._syncer).__name__
        try:
            if not begin():
                # One from before is still under way.
                self._syncer.wait()
                if not begin():
                    raise StorageError(f"the {name} did not begin to sync.")
            self._syncer.wait()
        except StorageError:
            raise
        except Exception as error:
            # Whatever a user's class raises.
            raise StorageError(f"the {name} raised {type(error).__name__}: {error}") from error
