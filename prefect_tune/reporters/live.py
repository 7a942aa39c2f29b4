"""`LiveReporter`: a status block on a terminal that is redrawn in place."""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.nested import flatten
from prefect_tune.reporters.columns import (
    as_cell,
    error_file,
    format_duration,
    format_parameters,
    parameter_columns,
    shorten,
    shorten_headings,
    user_metrics,
)
from prefect_tune.reporters.progress import SweepReporter
from prefect_tune.text import as_unicode, without_controls

_MIN_INTERVAL_S = 0.25
_SHARE = 0.02  # at most this share of the time is spent on drawing
_STYLES = {
    RUNNING: "cyan",
    PAUSED: "yellow",
    PENDING: "dim",
    TERMINATED: "green",
    ERROR: "bold red",
}
_LINES_AROUND_TABLE = 9
_MAX_ROWS = 12
_MAX_INFO_LINES = 3
_WIDE = 110
_MAX_ERRORS = 5
_CELL = 12
_HEADING_LENGTHS = 12, 18
_NAME_LENGTH = 12
_NARROW = 60


class LiveReporter(SweepReporter):
    """Shows a progress bar, counts, resources, the best trial and a table of the latest trials.

    The block is redrawn at most four times a second, and less often if drawing is slow. Output of
    other code appears above it.

    Args:
        verbose: 1 leaves the table out, 2 shows it with the metric, 3 with all metrics.
        console: The console to draw on; None is standard output.
    """

    def __init__(self, verbose: int = 2, console: Console | None = None) -> None:
        super().__init__(verbose)
        self._console = console or Console()
        self._next_report = 0.0
        self._live: Live | None = None

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Return True if enough time has passed since the last report."""
        return done or time.monotonic() >= self._next_report

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Redraw the block; the last report stays on the screen."""
        began = time.monotonic()
        self._progress.update(trials)
        live = self._live or self._open()
        live.update(self._block(done, sys_info), refresh=True)
        if done:
            self.close()
        cost = time.monotonic() - began
        self._next_report = began + max(_MIN_INTERVAL_S, cost / _SHARE)

    def close(self) -> None:
        """Stop the live display; the last block stays on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self.close)

    def _open(self) -> Live:
        live = self._live = Live(
            console=self._console, auto_refresh=False, vertical_overflow="crop"
        )
        live.start()
        # A live display hides the cursor, which must be shown again however the program ends.
        atexit.register(self.close)
        return live

    def _block(self, done: bool, sys_info: tuple[str, ...]) -> RenderableType:
        parts: list[RenderableType] = [self._headline(done)]
        if counts := self._counts():
            parts.append(counts)
        if not done:
            lines = [line for info in sys_info for line in info.splitlines()]
            parts += [
                Text(_clean(line), style="dim", no_wrap=True, overflow="ellipsis")
                for line in lines[-_MAX_INFO_LINES:]
            ]
        best = self._best()
        if best is not None:
            parts.append(best)
        rows = self._rows(done) if self._verbose >= 2 else []
        if rows:
            parts.append(self._table(rows))
        if done:
            parts += self._closing_lines(len(rows))
        return Group(*parts)

    def _closing_lines(self, shown: int) -> list[Text]:
        """Return how many trials the table leaves out, errors of trials, and paths of results."""
        progress = self._progress
        trials = progress.finished + progress.live
        lines: list[Text] = []
        left_out = len(trials) - shown
        if shown and left_out:
            lines.append(Text(f"... and {left_out} more", style="dim"))
        errors = progress.errors
        if errors:
            lines.append(Text("failed:", style="dim"))
        for trial in errors[:_MAX_ERRORS]:
            reason = "" if trial.error is None else _clean(str(trial.error).splitlines()[0])
            text = Text(no_wrap=True, overflow="ellipsis")
            text.append(self._name(trial), style=_STYLES[ERROR]).append(f"  {reason}")
            lines.append(text)
        if len(errors) > _MAX_ERRORS:
            lines.append(Text(f"... and {len(errors) - _MAX_ERRORS} more failed", style="dim"))
        # Paths are not cut to the terminal's width, since users copy them.
        if errors:
            lines.append(Text(_clean(f"first traceback: {error_file(errors[0])}"), style="dim"))
        if trials and trials[0].local_experiment_dir:
            lines.append(Text(_clean(f"results: {trials[0].local_experiment_dir}"), style="dim"))
        return lines

    def _headline(self, done: bool) -> RenderableType:
        progress = self._progress
        elapsed = time.time() - self._start
        ended = len(progress.finished)
        grid = Table.grid(padding=(0, 1))
        texts = [] if progress.total is None else [f"{ended}/{progress.total} trials"]
        texts.append(format_duration(elapsed))
        remaining = None if done else progress.remaining_s(elapsed)
        if remaining is not None:
            texts.append(f"about {format_duration(remaining)} to go")
        text = " · ".join(texts)
        if progress.total is None:
            bar: RenderableType = Text(f"{ended} trials ended", style="bold")
        else:
            width = max(10, min(40, self._console.width - len(text) - 2))
            bar = ProgressBar(total=max(1, progress.total), completed=ended, width=width)
        grid.add_row(bar, Text(text, no_wrap=True))
        return grid

    def _counts(self) -> Text:
        text = Text(no_wrap=True)
        for status, number in self._progress.counts().items():
            if text:
                text.append("  ")
            text.append(f"{number} {status.lower()}", style=_STYLES[status])
        return text

    def _best(self) -> Text | None:
        best = self._progress.best
        if best is None:
            return None
        text = Text("best ", style="dim", no_wrap=True, overflow="ellipsis")
        text.append(
            f"{shorten(str(self._progress.metric), 30)}={as_cell(best.value)}", style="bold"
        )
        text.append(f"  {self._name(best.trial)}", style="default")
        text.append(f"  {format_parameters(best.trial)}")
        return text

    def _rows(self, done: bool) -> list[Trial]:
        """Return the trials in the table: running and latest ended ones, at the end the best."""
        space = max(3, min(_MAX_ROWS, self._console.height - _LINES_AROUND_TABLE))
        progress = self._progress
        if done:
            return progress.ranked(progress.finished + progress.live)[:space]
        running = [trial for trial in progress.live if trial.status != PENDING]
        latest = progress.finished[-space:][::-1]
        # Some of the finished trials stay visible even if many trials run at once.
        most_running = max(space - len(latest), (space + 1) // 2)
        return [*running[:most_running], *latest][:space]

    @property
    def _heading_length(self) -> int:
        """The most characters of a heading."""
        return _HEADING_LENGTHS[self._console.width >= _NARROW]

    def _name(self, trial: Trial) -> str:
        wide = self._console.width >= _WIDE or trial.custom_name is not None
        # Names are cut at their beginning, since their ends differ.
        longest = max(_NAME_LENGTH, self._console.width // 4)
        return shorten(str(trial) if wide else trial.trial_id, longest)

    def _table(self, trials: list[Trial]) -> Table:
        metrics = self._metrics(trials)
        parameters = self._fitting_parameters(trials, metrics)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("trial", no_wrap=True)
        table.add_column("status", no_wrap=True)
        for heading in parameters.values():
            table.add_column(Text(heading), no_wrap=True, justify="right", overflow="ellipsis")
        times = ("iter", "time (s)") if self._console.width >= _NARROW else ()
        for heading in (*times, *(shorten(name, self._heading_length) for name in metrics)):
            table.add_column(Text(heading), no_wrap=True, justify="right")
        best = self._progress.best
        for trial in trials:
            result = flatten(trial.last_result)
            is_best = best is not None and best.trial is trial
            cells = [
                *(as_cell(trial.evaluated_params.get(name), _CELL) for name in parameters),
                *_times(result)[: len(times)],
                *(as_cell(result.get(name)) for name in metrics),
            ]
            # As `Text`, so that rich does not take texts such as [INST] for markup.
            table.add_row(
                Text(self._name(trial)),
                Text(trial.status, style=_STYLES[trial.status]),
                *map(Text, cells),
                style="bold" if is_best else None,
            )
        return table

    def _metrics(self, trials: list[Trial]) -> list[str]:
        metric = self._progress.metric
        if self._verbose < 3 and metric is not None:
            return [metric]
        others = user_metrics(trials, limit=1 if self._verbose < 3 else 4)
        names = list(dict.fromkeys([metric, *others] if metric is not None else others))
        # The metric of the sweep comes first and always stays; others are shown if they fit.
        while len(names) > 1 and self._width_left(trials, names) < 0:
            names.pop()
        return names

    def _fitting_parameters(self, trials: list[Trial], metrics: list[str]) -> dict[str, str]:
        """Return the first parameters that fit beside the other columns, with their headings."""
        width = self._width_left(trials, metrics)
        fitting: dict[str, str] = {}
        columns = parameter_columns(trials)
        heads = shorten_headings(list(columns.values()), self._heading_length)
        for name, heading in zip(columns, heads, strict=True):
            cells = (as_cell(trial.evaluated_params.get(name), _CELL) for trial in trials)
            width -= max(cell_len(heading), *map(cell_len, cells)) + 2
            if width < 0:
                break
            fitting[name] = heading
        return fitting

    def _width_left(self, trials: list[Trial], metrics: list[str]) -> int:
        """Return how many characters of a line the parameters may use; below 0 if none."""
        name_width = max(len(self._name(trial)) for trial in trials)
        metrics_width = sum(
            max(12, min(cell_len(name), self._heading_length) + 2) for name in metrics
        )
        return self._console.width - (name_width + 2) - 12 - 6 - 10 - metrics_width


def _clean(text: str) -> str:
    """Return a text without control characters, and with those that are not Unicode escaped."""
    return as_unicode(without_controls(text))


def _times(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return a trial's iterations and the seconds that it ran, as text."""
    seconds = finite_number(result.get("time_total_s"))
    long = seconds is not None and seconds >= 1e4
    return as_cell(result.get("training_iteration")), f"{seconds:.0f}" if long else as_cell(seconds)
