"""Texts as a Prefect server takes them, whatever user code has put into them."""

from __future__ import annotations

import re
from typing import Any

from prefect_tune.text import in_words

#: Lone surrogates, which UTF-8 cannot express, and NUL, which PostgreSQL does not store.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_HEAD = 1_000
_LONGEST_VALUE = 1_000
#: Characters that the message of a state has.
LONGEST_MESSAGE = 8_000


def showable(text: str, longest: int | None = None) -> str:
    """Escape what a server refuses: it would never show the state that the text is part of.

    Args:
        text: Any text.
        longest: Characters to keep; what is longer loses its middle. None keeps all.
    """
    if longest is not None and len(text) > longest:
        head = min(_HEAD, longest // 2)
        text = f"{text[:head]}\n...\n{text[head - longest :]}"
    return _NO_TEXT.sub(_escaped, text)


def show_value(value: Any) -> str:
    """Any object of the user's as a text of limited length."""
    return showable(in_words(value), _LONGEST_VALUE)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
