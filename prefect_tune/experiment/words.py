"""Objects of user code in words, whatever their methods raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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


def as_unicode(text: str) -> str:
    """A text that can be written anywhere: what is not Unicode (names of files!) is escaped."""
    return text.encode(errors="backslashreplace").decode()
