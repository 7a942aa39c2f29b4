"""Write text to a console of any encoding."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

from prefect_tune.text import without_controls


def write_text(
    text: str, stream: TextIO | None = None, end: str = "\n", *, allow_escapes: bool = False
) -> None:
    """Print a text, with question marks for characters that the console's encoding lacks.

    A name that cannot be encoded must not end a sweep, and a name with escape sequences must not
    control the terminal.

    Args:
        text: The text to print.
        stream: The stream to print to; None is standard output, if there is one.
        end: The end of the text.
        allow_escapes: Whether escape sequences are kept.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:  # pythonw, some services
        return
    text = (text if allow_escapes else without_controls(text)) + end
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = _encoding_of(stream)
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def is_unicode_terminal(stream: TextIO | None) -> bool:
    """Return True for a terminal with a Unicode encoding, which a live table needs."""
    if stream is None or not stream.isatty():
        return False
    return codecs.lookup(_encoding_of(stream)).name.startswith("utf")


def _encoding_of(stream: TextIO) -> str:
    # The stream may be any object that a program has put in the place of standard output.
    return getattr(stream, "encoding", None) or "ascii"
