"""Objects of user code in words, whatever their methods raise."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: Escape sequences (ECMA-48: control sequences, operating system commands, others), control
#: characters but for tab and line feed, and what turns the direction of writing.
CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def in_words(value: Any, describe: Callable[[Any], str] = str) -> str:
    """What an object says of itself, or the name of its class if it cannot say anything.

    Args:
        value: Anything.
        describe: `str` or `repr`.
    """
    try:
        return describe(value)
    except Exception:  # it is the user's class
        return f"<{type(value).__name__}>"


def without_controls(text: str) -> str:
    """A text that moves no cursor, colours nothing and clears no screen when it is printed."""
    return CONTROLS.sub("", text)


def as_unicode(text: str) -> str:
    """A text that can be written anywhere: what is not Unicode (names of files!) is escaped."""
    return text.encode(errors="backslashreplace").decode()
