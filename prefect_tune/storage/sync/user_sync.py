"""Copies the experiment directory with a user's command, function or `Syncer`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable

from prefect_tune.error import InvalidArgument, StorageError, StorageUnavailable
from prefect_tune.storage.sync.syncer import Syncer

#: Patterns of files that are not copied, because they matter on this machine only.
EXCLUDED = ["*.lock", ".*.tmp*"]
_SHELL = re.compile(r"[|&;<>`$*?()\n]")
_TOKENS = re.compile(r"\\.|\$\(|\{source\}|\{target\}|.", re.DOTALL)
_FIELD = re.compile(r"\{source\}|\{target\}")
_FIELDS = {"{source}": "1", "{target}": "2"}
#: Programs that pass their arguments to a second shell, which undoes the first one's quoting.
_SHELLS = frozenset("bash dash eval fish ksh sh ssh su zsh".split())
_TAIL = 500


class UserSync(ABC):
    """User-defined way to copy the experiment directory to and from storage.

    Both methods raise:
        StorageError: If the copy fails; the message says why.
    """

    @abstractmethod
    def up(self, source: str, target: str, timeout: float) -> None:
        """Copy a local directory to storage."""

    def down(self, source: str, target: str, timeout: float) -> None:
        """Copy from storage to a local directory; by default as `up` copies."""
        self.up(source, target, timeout)


def make_user_sync(value: object, argument: str = "sync_to_cloud") -> UserSync:
    """Make a `UserSync` from a user's command, function or `Syncer`.

    Args:
        value: A command with ``{source}`` and ``{target}``, ``f(source, target)`` or a `Syncer`.
        argument: Name of the argument, for errors.

    Raises:
        InvalidArgument: If `value` is something else.
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


class _ByCommand(UserSync):
    def __init__(self, template: str, argument: str) -> None:
        for field in _FIELDS:
            if field not in template:
                raise InvalidArgument(
                    argument,
                    f"the command {template!r} has no {field}.",
                    "It needs {source} and {target}: 'aws s3 sync {source} {target}'.",
                )
        self._template = template
        try:
            self._words = shlex.split(template)
            self._script = _script(template)
        except ValueError as error:
            raise InvalidArgument(
                argument,
                f"the command {template!r} is cut off: {str(error).lower()}.",
                "Close its quotes.",
            ) from None
        # Paths may hold special characters of a shell, so a shell runs only commands that need one.
        self._needs_shell = bool(_SHELL.search(template))
        self._uses_second_shell = any(
            os.path.basename(word) in _SHELLS
            or (len(word.split()) > 1 and any(field in word for field in _FIELDS))
            for word in self._words
        )

    def up(self, source: str, target: str, timeout: float) -> None:
        for path in (source, target):
            if self._uses_second_shell and shlex.quote(path) != path:
                raise StorageError(
                    f"the command {self._template!r} may pass {path!r} to a second shell, which "
                    "would interpret its special characters. Give a command without one, "
                    "a function f(source, target), or a plain name."
                )
        if self._needs_shell:
            # As arguments of the script, the paths are never interpreted as part of it.
            command = ["/bin/sh", "-c", self._script, "sh", source, target]
        else:
            command = [
                _FIELD.sub(lambda found: {"{source}": source}.get(found[0], target), word)
                for word in self._words
            ]
        try:
            process = subprocess.Popen(
                command,
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
                # The whole process group, because a shell may have started other processes.
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


def _script(template: str) -> str:
    """Turn a command template into a shell script with ``$1`` and ``$2`` for the two fields.

    A field that the user has quoted stays within these quotes.

    Raises:
        ValueError: If a quotation is not closed.
    """
    script, quote = [], ""
    outer: list[str] = []
    for token in _TOKENS.findall(template):
        if token in _FIELDS:
            expanded = "${" + _FIELDS[token] + "}"
            before, behind = {"": ('"', '"'), '"': ("", ""), "'": ("'\"", "\"'")}[quote]
            token = f"{before}{expanded}{behind}"
        elif quote == "'":
            # Within single quotes a backslash has no special meaning.
            quote = "" if token.endswith("'") else quote
        elif token == "$(" or (token == "(" and not quote):
            outer.append(quote)
            quote = ""
        elif token == ")" and not quote and outer:
            quote = outer.pop()
        elif token in ("'", '"') and quote in ("", token):
            quote = "" if quote else token
        script.append(token)
    if quote:
        raise ValueError("No closing quotation")
    return "".join(script)


class _ByFunction(UserSync):
    def __init__(self, function: Callable[[str, str], object]) -> None:
        self._function = function

    def up(self, source: str, target: str, timeout: float) -> None:
        """Upload; a function cannot be ended, so it may take longer than `timeout`."""
        try:
            self._function(source, target)
        except Exception as error:
            # A user's function may raise anything.
            raise StorageError(
                f"the function of `sync_to_cloud` raised {type(error).__name__}: {error}"
            ) from error


class _BySyncer(UserSync):
    """Copies with a `Syncer`, which may exceed `timeout`: Ray Tune's `wait` has none."""

    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer

    def up(self, source: str, target: str, timeout: float) -> None:
        self._do(lambda: self._syncer.sync_up(source, target, EXCLUDED))

    def down(self, source: str, target: str, timeout: float) -> None:
        self._do(lambda: self._syncer.sync_down(source, target))

    def _do(self, begin: Callable[[], bool]) -> None:
        name = type(self._syncer).__name__
        try:
            if not begin():
                # An earlier copy is still under way.
                self._syncer.wait()
                if not begin():
                    raise StorageError(f"the {name} did not begin to sync.")
            self._syncer.wait()
        except StorageError:
            raise
        except Exception as error:
            # A user's class may raise anything.
            raise StorageError(f"the {name} raised {type(error).__name__}: {error}") from error
