"""Long output, a page at a time."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from prefect_tune.text import without_controls


def page(lines: Sequence[str], notices: Sequence[str] = ()) -> None:
    """Print lines; on a terminal that is too short for them, a page at a time.

    Args:
        lines: The lines.
        notices: What else is to be said; stays on the terminal after the last page.
    """
    text = without_controls("\n".join(lines)) + "\n"
    if not (_is_too_long(len(lines) + len(notices)) and _through_pager(text)):
        sys.stdout.write(text)
    for notice in notices:
        print(without_controls(notice), file=sys.stderr)
    sys.stdout.flush()


def _is_too_long(count: int) -> bool:
    terminals = sys.stdin.isatty() and sys.stdout.isatty()
    return terminals and count + 1 > shutil.get_terminal_size().lines


def _through_pager(text: str) -> bool:
    """Show it with $PAGER, or less; False if there is none."""
    command = shlex.split(os.environ.get("PAGER") or "less -S")
    if not command or shutil.which(command[0]) is None:
        return False
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, errors="replace")
    try:
        pager.communicate(text)
    except KeyboardInterrupt:
        # It is the pager that was meant, which does not end by it.
        pager.wait()
    return True
