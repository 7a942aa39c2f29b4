"""The status block as text."""

from __future__ import annotations

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.status import Status, TuneReporterBase
from prefect_tune.reporters.text_table import Table, text_table


class CLIReporter(TuneReporterBase):
    """Prints the status block; all arguments are those of `TuneReporterBase`."""

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Print the status block."""
        print(as_text(self.status(trials, done, *sys_info)), flush=True)


def as_text(status: Status) -> str:
    """A status as lines of text."""
    lines: list[str] = []
    for part in status:
        lines += text_table(part) if isinstance(part, Table) else [part]
    return "\n".join(lines) + "\n"
