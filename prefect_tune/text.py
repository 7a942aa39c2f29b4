"""Text of users' objects, even if their methods raise, and text that is safe to print."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: Matches escape sequences (ECMA-48: control sequences, operating system commands, others), control
#: characters except tab and line feed, and characters that change the writing direction.
CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def in_words(value: Any, describe: Callable[[Any], str] = str) -> str:
    """Return `str` or `repr` of a user's object, or the name of its class if that raises.

    Args:
        value: Any object.
        describe: `str` or `repr`.
    """
    try:
        return describe(value)
    except Exception:  # a user's class may raise anything
        return f"<{type(value).__name__}>"


def without_controls(text: str) -> str:
    """Return a text without control characters and escape sequences, safe for a terminal."""
    return CONTROLS.sub("", text)


def as_unicode(text: str) -> str:
    """Return a text that can be encoded as UTF-8; undecodable bytes of file names are escaped."""
    return text.encode(errors="backslashreplace").decode()
