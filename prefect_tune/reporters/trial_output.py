"""Shows on the console what trials print."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from typing import TextIO

from prefect_tune.reporters.budget import LineBudget
from prefect_tune.reporters.console import say
from prefect_tune.text import CONTROLS
from prefect_tune.trainable.output import TrialOutput

_BURST = 500
#: Lines a second: what a person can just about follow, and what a log file can stand for days.
_PER_S_TERMINAL = 30.0
_PER_S_FILE = 3.0
_MAX_WAITING = 1000
_PERIOD_S = 0.25
_CYAN, _PLAIN = "\x1b[36m", "\x1b[0m"
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class TrialOutputPrinter:
    """Prints lines of trials behind the name of the trainable and the process.

    At most 500 lines at once, and 30 a second after them (3 if it is not a terminal); how many are
    left out is told every ten seconds at most.

    Args:
        trainable_name: Name of the trainable.
    """

    def __init__(self, trainable_name: str) -> None:
        self._name = trainable_name
        # Without limit a flow process that is held up would grow; the files have everything.
        self._waiting: deque[TrialOutput] = deque(maxlen=_MAX_WAITING)
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._budget = LineBudget(_BURST, _PER_S_TERMINAL if is_terminal else _PER_S_FILE)
        self._where = ""
        self._next = 0.0

    def put(self, output: TrialOutput) -> None:
        """Take lines; from any thread, returns at once."""
        self._waiting.append(output)

    def flush(self, last: bool = False) -> None:
        """Print what has come, four times a second at most.

        To be called in the thread that prints everything else.

        Args:
            last: It will not be called again.
        """
        now = time.monotonic()
        if not last and now < self._next:
            return
        self._next = now + _PERIOD_S
        texts: dict[TextIO, list[str]] = {}
        while self._waiting:
            output = self._waiting.popleft()
            stream = sys.stderr if output.stderr else sys.stdout
            if stream is None:
                continue
            prefix = self._prefix(output, stream.isatty())
            self._where = output.path
            if output.left_out:
                self._budget.refuse(1)
            shown = texts.setdefault(stream, [])
            shown += [
                f"{prefix} {harmless(line, coloured=stream.isatty())}\n"
                for line in output.lines
                if self._budget.allow()
            ]
        refused = self._budget.untold(last)
        if refused and sys.stdout is not None:
            texts.setdefault(sys.stdout, []).append(
                f"... at least {refused} more lines that trials have printed are not shown; all of "
                f"them are in files of the trials, as {self._where}\n"
            )
        for stream, lines in texts.items():
            # In one go: above a live table each write draws the table again.
            say("".join(lines), stream, end="", as_it_is=True)

    def _prefix(self, output: TrialOutput, coloured: bool) -> str:
        text = self._name
        if output.pid:
            text += f" pid={output.pid}"
        if output.node_ip:
            text += f", ip={output.node_ip}"
        return f"{_CYAN}({text}){_PLAIN}" if coloured else f"({text})"


def harmless(line: str, *, coloured: bool) -> str:
    """A line that changes nothing but itself: it does not clear the screen or move the cursor.

    Args:
        line: What a trial has printed.
        coloured: Whether colours are kept.
    """
    if line.isprintable():
        return line

    def kept(control: re.Match[str]) -> str:
        return control.group() if coloured and _COLOUR.fullmatch(control.group()) else ""

    shown = CONTROLS.sub(kept, line.replace("\n", ""))
    return shown + _PLAIN if "\x1b" in shown else shown
