"""`TrialOutputPrinter`: print the output of trials on the console, within a budget of lines."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from typing import TextIO

from prefect_tune.reporters.console import write_text
from prefect_tune.text import CONTROLS
from prefect_tune.trainable.output import TrialOutput

_BURST = 500
#: Lines a second that a person can just read, and that a log file can hold for days.
_PER_S_TERMINAL = 30.0
_PER_S_FILE = 3.0
_MAX_WAITING = 1000
_PERIOD_S = 0.25
_CYAN, _PLAIN = "\x1b[36m", "\x1b[0m"
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class TrialOutputPrinter:
    """Prints output of trials, each line with the name of the trainable and the process in front.

    At most 500 lines are printed at once, and then 30 lines a second (3 if standard output is not a
    terminal). The number of lines left out is printed at most every ten seconds.

    Args:
        trainable_name: Name of the trainable.
    """

    def __init__(self, trainable_name: str) -> None:
        self._name = trainable_name
        # Limited, so that a driver that is held up does not fill the memory; files have all output.
        self._waiting: deque[TrialOutput] = deque(maxlen=_MAX_WAITING)
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._budget = LineBudget(_BURST, _PER_S_TERMINAL if is_terminal else _PER_S_FILE)
        self._last_path = ""
        self._next = 0.0

    def put(self, output: TrialOutput) -> None:
        """Queue lines to be printed; callable from any thread."""
        self._waiting.append(output)

    def flush(self, last: bool = False) -> None:
        """Print the queued lines, at most four times a second.

        Must be called in the thread that prints everything else.

        Args:
            last: True for the last call, which prints in any case.
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
            self._last_path = output.path
            if output.left_out:
                self._budget.count_refused(1)
            shown = texts.setdefault(stream, [])
            shown += [
                f"{prefix} {remove_escapes(line, coloured=stream.isatty())}\n"
                for line in output.lines
                if self._budget.allow()
            ]
        refused = self._budget.count_to_report(last)
        if refused and sys.stdout is not None:
            texts.setdefault(sys.stdout, []).append(
                f"... at least {refused} more lines that trials have printed are not shown; all of "
                f"them are in files of the trials, such as {self._last_path}\n"
            )
        for stream, lines in texts.items():
            # In one call, since each write above a live table redraws the table.
            write_text("".join(lines), stream, end="", allow_escapes=True)

    def _prefix(self, output: TrialOutput, coloured: bool) -> str:
        text = self._name
        if output.pid:
            text += f" pid={output.pid}"
        if output.node_ip:
            text += f", ip={output.node_ip}"
        return f"{_CYAN}({text}){_PLAIN}" if coloured else f"({text})"


def remove_escapes(line: str, *, coloured: bool) -> str:
    """Remove escape sequences from a line, which could clear the screen or move the cursor.

    Args:
        line: A line of a trial's output.
        coloured: Whether escape sequences for colours are kept.
    """
    if line.isprintable():
        return line

    def kept(control: re.Match[str]) -> str:
        return control.group() if coloured and _COLOUR.fullmatch(control.group()) else ""

    shown = CONTROLS.sub(kept, line.replace("\n", ""))
    return shown + _PLAIN if "\x1b" in shown else shown


_REPORT_EVERY_S = 10.0


class LineBudget:
    """A token bucket for printed lines, so that trials cannot flood a terminal or a log file.

    Args:
        burst: Lines that may be printed at once.
        per_s: Lines added to the budget every second, up to `burst`.
    """

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = self._tokens = float(burst)
        self._per_s = per_s
        self._updated_at = time.monotonic()
        self._refused = 0
        self._reported_at = self._updated_at

    def allow(self, lines: int = 1) -> bool:
        """Spend the budget for some lines and return True, or count them as refused."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_s)
        self._updated_at = now
        if self._tokens < lines:
            self._refused += lines
            return False
        self._tokens -= lines
        return True

    def count_refused(self, lines: int) -> None:
        """Count lines that the caller did not print."""
        self._refused += lines

    def count_to_report(self, last: bool = False) -> int:
        """Return how many refused lines to report now, at most every 10 s, and reset the count.

        Args:
            last: True for the last call, which does not wait for the 10 s.
        """
        if not self._refused:
            return 0
        now = time.monotonic()
        if not last and now - self._reported_at < _REPORT_EVERY_S:
            return 0
        self._reported_at = now
        refused, self._refused = self._refused, 0
        return refused
