"""`JupyterNotebookReporter`: show the status block in the output of a notebook cell."""

from __future__ import annotations

import html
import sys
from typing import Any

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.console import Table
from prefect_tune.reporters.status import Status, TuneReporterBase

_STYLE = "text-align:{align};white-space:nowrap;padding:2px 8px"


class JupyterNotebookReporter(TuneReporterBase):
    """Shows the status block in the output of a notebook cell.

    Args:
        overwrite: Replace the last status instead of adding one. The output of trials and other
            code stays in place.
        kwargs: Arguments of `TuneReporterBase`.

    Raises:
        ImportError: If IPython is not installed.
    """

    def __init__(self, overwrite: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            import IPython.display
        except ImportError as error:
            raise ImportError(
                "JupyterNotebookReporter needs IPython: pip install ipython"
            ) from error
        self._output = IPython.display
        self._overwrite = overwrite
        self._handle: Any = None

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Show the status block."""
        shown = self._output.HTML(as_html(self.status(trials, done, *sys_info)))
        # Updating a display does not flicker, while clearing the output does.
        if self._overwrite and self._handle is not None:
            self._handle.update(shown)
        else:
            self._handle = self._output.display(shown, display_id=True)


def as_html(status: Status) -> str:
    """Return a status as HTML; all text is escaped."""
    parts = [
        _table(part) if isinstance(part, Table) else f"<div>{html.escape(part)}</div>"
        for part in status
    ]
    return f'<div class="prefect-tune-status" style="overflow-x:auto">{"".join(parts)}</div>'


def _table(table: Table) -> str:
    aligned = [_STYLE.format(align="right" if num else "left") for num in table.numeric_columns()]

    def row(cells: Any, tag: str) -> str:
        inner = (
            f'<{tag} style="{style}">{html.escape(cell)}</{tag}>'
            for cell, style in zip(cells, aligned, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    note = f"<div>{html.escape(table.note)}</div>" if table.note else ""
    return f"<table><thead>{row(table.header, 'th')}</thead><tbody>{body}</tbody></table>{note}"


def in_notebook() -> bool:
    """Return True in a notebook's kernel (Jupyter, VS Code, Colab), not in IPython's shell."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
