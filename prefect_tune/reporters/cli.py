"""`CLIReporter`: print the status block as text."""

from __future__ import annotations

import shutil
import sys

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.console import write_text
from prefect_tune.reporters.status import Status, TuneReporterBase
from prefect_tune.reporters.text_table import Table, text_table


class CLIReporter(TuneReporterBase):
    """Prints the status block as text; all arguments are those of `TuneReporterBase`."""

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Print the status block."""
        write_text(self._progress_str(trials, done, *sys_info))

    def _progress_str(self, trials: list[Trial], done: bool, *sys_info: str) -> str:
        """Return the status block as text; subclasses that send it elsewhere call this method."""
        return as_text(self.status(trials, done, *sys_info), _line_width())


def as_text(status: Status, width: int | None = None) -> str:
    """Return a status as lines of text.

    Args:
        status: The status.
        width: Characters in a line, for the tables; None for no limit.
    """
    lines: list[str] = []
    for part in status:
        lines += text_table(part, width) if isinstance(part, Table) else [part]
    return "\n".join(lines) + "\n"


def _line_width() -> int | None:
    """Return the characters in a line of the terminal; None for a file or pipe."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_terminal else None
