"""Writing to a console, whatever it can show."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

from prefect_tune.text import without_controls


def say(
    text: str, stream: TextIO | None = None, end: str = "\n", *, as_it_is: bool = False
) -> None:
    """Print, with question marks for what the console has no characters for.

    A name that cannot be shown must not end a sweep, and none may command the terminal.

    Args:
        text: What to print.
        stream: Where to; None is standard output, if there is one.
        end: What is printed behind it.
        as_it_is: Whether escape sequences are let through.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:  # pythonw, some services
        return
    text = (text if as_it_is else without_controls(text)) + end
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = _encoding(stream)
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def shows_everything(stream: TextIO | None) -> bool:
    """Return True for a terminal that has all characters, as those of a live table."""
    if stream is None or not stream.isatty():
        return False
    return codecs.lookup(_encoding(stream)).name.startswith("utf")


def _encoding(stream: TextIO) -> str:
    """The stream may be any object that has been put in the place of a file."""
    return getattr(stream, "encoding", None) or "ascii"
