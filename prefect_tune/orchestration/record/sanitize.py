"""Makes texts of user code acceptable for a Prefect server."""

from __future__ import annotations

import re
from typing import Any

from prefect_tune.text import in_words

#: Lone surrogates, which UTF-8 cannot express, and NUL, which PostgreSQL does not store.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_HEAD = 1_000
_LONGEST_VALUE = 1_000
#: Characters that the message of a state may have.
LONGEST_MESSAGE = 8_000


def showable(text: str, longest: int | None = None) -> str:
    """Escape characters that a server refuses, with the state or artifact that has the text.

    Args:
        text: Any text.
        longest: Characters to keep; a longer text loses its middle. None keeps all.
    """
    if longest is not None and len(text) > longest:
        head = min(_HEAD, longest // 2)
        text = f"{text[:head]}\n...\n{text[head - longest :]}"
    return _NO_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show_value(value: Any) -> str:
    """Return any object of the user as a text of limited length."""
    return showable(in_words(value), _LONGEST_VALUE)
