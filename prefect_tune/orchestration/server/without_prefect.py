"""Finds out which Prefect server a process uses without importing Prefect.

Importing Prefect takes seconds, which the first trials need not wait for. What is configured in
ways that only Prefect understands is left to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from prefect_tune.orchestration.server.directory import ServerSettings

_API_URL = "PREFECT_API_URL"
#: Variables of Prefect that do not decide which server a process uses, or are read here.
_HARMLESS = re.compile(
    f"{_API_URL}$|PREFECT_(HOME$|TUNE_|(SERVER_)?LOGGING_|SERVER_(ANALYTICS|(ALLOW_)?EPHEMERAL|SERVICES)_)"
)
#: Files in the working directory that may set any setting of Prefect, and how such lines look.
_SETTINGS_FILES = {"prefect.toml": "", ".env": "prefect_", "pyproject.toml": "tool.prefect"}
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """A Prefect server of the user's, which has answered.

    Attributes:
        api_url: Address for clients.
    """

    api_url: str

    @property
    def alive(self) -> bool:
        """True without a check, because Prefect's clients report a server that does not answer."""
        return True

    @property
    def is_ready(self) -> bool:
        """True, because it has answered."""
        return True


def known_server() -> ServerSettings | ConfiguredServer | None:
    """Return the settings of an embedded server, or the server that is configured and answers.

    Return None if only Prefect could tell, or the server does not answer.
    """
    variables = _variables()
    if variables is None or not all(map(_HARMLESS.match, variables)):
        return None
    url = variables.get(_API_URL)
    if url is None:
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
        return ServerSettings(home, f"sqlite+aiosqlite:///{home}/prefect.db")
    url = str(url)
    return ConfiguredServer(url) if url.startswith("http") and _answers(url) else None


def _variables() -> dict[str, str] | None:
    """Return Prefect's settings as variables; None if files have some that are not variables."""
    for name, sign in _SETTINGS_FILES.items():
        with contextlib.suppress(FileNotFoundError):
            if sign in Path(name).read_text(errors="replace").lower():
                return None
    profile: dict[str, str] = {}
    try:
        # As Prefect, which does not expand `~` in the variable here.
        home = Path(os.environ.get("PREFECT_HOME") or Path("~/.prefect").expanduser())
        profiles = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        profile = profiles["profiles"][profiles["active"]]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not isinstance(profile, dict) or "PREFECT_HOME" in profile:
        return None
    own = {name: value for name, value in os.environ.items() if name.upper().startswith("PREFECT_")}
    return {**profile, **own}


def _answers(url: str) -> bool:
    """Return True if a server answers that demands no key."""
    try:
        with urlopen(f"{url.rstrip('/')}/admin/version", timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, HTTPException):
        return False
