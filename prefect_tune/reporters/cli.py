"""The status block as text."""

from __future__ import annotations

import shutil
import sys

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.console import say
from prefect_tune.reporters.status import Status, TuneReporterBase
from prefect_tune.reporters.text_table import Table, text_table


class CLIReporter(TuneReporterBase):
    """Prints the status block; all arguments are those of `TuneReporterBase`."""

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Print the status block."""
        say(self._progress_str(trials, done, *sys_info))

    def _progress_str(self, trials: list[Trial], done: bool, *sys_info: str) -> str:
        """The status block, under the name that reporters which send it elsewhere call it by."""
        return as_text(self.status(trials, done, *sys_info), _room())


def as_text(status: Status, room: int | None = None) -> str:
    """Return a status as lines of text.

    Args:
        status: The status.
        room: Width of a line, for its tables; None is any width.
    """
    lines: list[str] = []
    for part in status:
        lines += text_table(part, room) if isinstance(part, Table) else [part]
    return "\n".join(lines) + "\n"


def _room() -> int | None:
    """Characters in a line of the terminal; a file or pipe has room for lines of any length."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None
