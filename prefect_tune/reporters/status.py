"""The status block of Ray Tune, as parts that subclasses of `TuneReporterBase` show, or as text."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.nested import flatten
from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.columns import (
    DEFAULT_METRICS,
    Columns,
    as_cell,
    as_columns,
    brief_parameters,
    error_file,
    format_duration,
    parameter_columns,
    shorten_headings,
    user_metrics,
)
from prefect_tune.reporters.console import Table, text_table, write_text
from prefect_tune.reporters.progress import SweepProgress
from prefect_tune.validation import check_mode

_SHOWN_FIRST = {RUNNING: 0, ERROR: 1, PAUSED: 2, TERMINATED: 3, PENDING: 4}
_DIGITS = 6
#: The last table shows all trials, as Ray Tune's does, up to a number that does not flood a log.
_ROWS_AT_THE_END = 200
#: Users copy the best trial's parameters, so nearly all are shown, but no very long texts.
_BEST_LENGTH, _BEST_LIMIT = 200, 100
#: The parts of a status: lines of text and tables, from top to bottom.
Status = list[str | Table]


class TuneReporterBase(ProgressReporter):
    """Builds the status block; subclasses show it on a terminal, in a notebook or elsewhere.

    Args:
        metric_columns: Metrics to show: names, or name -> heading; None shows the first few numbers
            that trials report.
        parameter_columns: Parameters to show, likewise; None shows the searched ones.
        total_samples: Number of trials in all; None takes the experiment's.
        max_progress_rows: Trials in the table; the table at the end has up to 200 anyway.
        max_error_rows: Failed trials in the table of errors, likewise.
        max_column_length: The most characters of headings and texts. They are cut at their
            beginning, headings that would then look the same in their middle.
        max_report_frequency: Seconds between two reports.
        infer_limit: Number of metrics to show if `metric_columns` is None.
        print_intermediate_tables: Whether to show the table before the end; None shows it.
        metric: The metric of the line about the best trial; None takes the experiment's.
        mode: ``min`` or ``max``.
        sort_by_metric: Show the best trials first.

    Raises:
        InvalidArgument: If `mode` is neither ``min`` nor ``max``.
    """

    def __init__(
        self,
        *,
        metric_columns: Mapping[str, str] | Sequence[str] | None = None,
        parameter_columns: Mapping[str, str] | Sequence[str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        if mode is not None:
            check_mode(mode)
        self._metric_columns = as_columns(metric_columns)
        self._metrics_given = metric_columns is not None
        self._parameter_columns = as_columns(parameter_columns)
        self._parameters_given = parameter_columns is not None
        self._total_samples = total_samples
        self._max_progress_rows = max_progress_rows
        self._max_error_rows = max_error_rows
        self._max_column_length = max_column_length
        self._max_report_frequency = max_report_frequency
        self._infer_limit = infer_limit
        self._intermediate_tables = print_intermediate_tables is not False
        self._metric = metric
        self._mode = mode
        self._sort_by_metric = sort_by_metric
        self._start_time = time.time()
        self._last_report = 0.0
        self._progress = SweepProgress(metric, mode, total_samples)

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set the reporter up; arguments of the constructor take precedence."""
        self._start_time = time.time() if start_time is None else start_time
        total = total_samples if self._total_samples is None else self._total_samples
        self._progress = SweepProgress(self._metric or metric, self._mode or mode, total)

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show one more metric; without `metric_columns`, instead of metrics chosen by themselves.

        Args:
            metric: Name of the metric.
            representation: The heading; None is the name.

        Raises:
            InvalidArgument: If the metric is a column already.
        """
        if metric in self._metric_columns:
            raise InvalidArgument("metric", f"{metric!r} is a column already.")
        self._metric_columns[metric] = representation or metric

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show one more parameter.

        Args:
            parameter: Name of the parameter, flat (``net/units``).
            representation: The heading; None is the name.

        Raises:
            InvalidArgument: If the parameter is a column already.
        """
        if parameter in self._parameter_columns:
            raise InvalidArgument("parameter", f"{parameter!r} is a column already.")
        self._parameters_given = True
        self._parameter_columns[parameter] = representation or parameter

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Return True at the first trial, every `max_report_frequency` seconds and at the end."""
        if done:
            return True
        return bool(trials) and time.time() - self._last_report >= self._max_report_frequency

    def status(self, trials: list[Trial], done: bool, *sys_info: str) -> Status:
        """Return the lines and tables of the status block, from top to bottom.

        Args:
            trials: All trials, in order of creation.
            done: True if this is the last report.
            sys_info: Lines about the cluster, such as the resources in use.
        """
        now = self._last_report = time.time()
        progress = self._progress
        progress.update(trials)
        status: Status = [
            "== Status ==",
            f"Current time: {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))} "
            f"(running for {format_duration(now - self._start_time)})",
            memory_line(),
            *(line for line in sys_info if line),
        ]
        best = progress.best
        if best is not None:
            parameters = brief_parameters(
                best.trial.evaluated_params or best.trial.config, _BEST_LENGTH, _BEST_LIMIT, 17
            )
            value = as_cell(best.value, 80, 6)
            status.append(
                f"Current best trial: {best.trial} with {progress.metric}={value}"
                f" and parameters={parameters}"
            )
        if trials and trials[0].local_experiment_dir:
            status.append(f"Result logdir: {trials[0].local_experiment_dir}")
        status.append(f"Number of trials: {progress.describe_counts()}")
        if trials and (done or self._intermediate_tables):
            status.append(self._trial_table(trials, _row_limit(self._max_progress_rows, done)))
        if progress.errors:
            status.append(f"Number of errored trials: {len(progress.errors)}")
            errors = progress.errors
            status.append(self._error_table(errors, _row_limit(self._max_error_rows, done)))
        return status

    def _trial_table(self, trials: list[Trial], rows_at_most: int) -> Table:
        shown = self._shown_trials(trials, rows_at_most)
        parameters = self._parameter_columns if self._parameters_given else parameter_columns(shown)
        metrics = self._metrics(shown)
        cut = self._max_column_length
        heads = shorten_headings([*parameters.values(), *metrics.values()], cut)
        rows = []
        for trial in shown:
            config, result = flatten(trial.config), flatten(trial.last_result)
            values = [trial.evaluated_params.get(name, config.get(name)) for name in parameters]
            values += [result.get(name) for name in metrics]
            cells = (as_cell(value, cut, _DIGITS) for value in values)
            rows.append([str(trial), trial.status, trial.location, *cells])
        return Table(["Trial name", "status", "loc", *heads], rows, _left_out_note(trials, shown))

    def _shown_trials(self, trials: list[Trial], at_most: int) -> list[Trial]:
        if self._sort_by_metric:
            return self._progress.ranked(trials)[:at_most]
        if len(trials) <= at_most:
            return trials
        return sorted(trials, key=lambda trial: _SHOWN_FIRST[trial.status])[:at_most]

    def _metrics(self, trials: list[Trial]) -> Columns:
        if self._metrics_given:
            return self._metric_columns
        reported = {name for trial in trials for name in trial.last_result}
        columns = {name: text for name, text in DEFAULT_METRICS.items() if name in reported}
        if self._metric_columns:  # added one by one
            return columns | self._metric_columns
        return self._inferred(trials, columns)

    def _inferred(self, trials: list[Trial], columns: Columns) -> Columns:
        metric = self._progress.metric
        if metric is not None:
            columns[metric] = metric
        others = user_metrics(trials, self._infer_limit + len(columns))
        inferred = [name for name in others if name not in columns][: self._infer_limit]
        return columns | {name: name for name in inferred}

    def _error_table(self, errors: list[Trial], at_most: int) -> Table:
        shown = errors[:at_most]
        rows = [[str(trial), str(trial.num_failures), error_file(trial)] for trial in shown]
        note = _left_out_note(errors, shown)
        return Table(["Trial name", "# failures", "error file"], rows, note)


def _row_limit(at_most: int, done: bool) -> int:
    return max(at_most, _ROWS_AT_THE_END) if done else at_most


def _left_out_note(trials: Sequence[Trial], shown: Sequence[Trial]) -> str:
    """Return a note with the number of trials that a table leaves out, "" if none."""
    if len(shown) == len(trials):
        return ""
    counts = Counter(trial.status for trial in trials)
    counts.subtract(trial.status for trial in shown)
    by_status = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()) if n)
    return f"... {len(trials) - len(shown)} more trials not shown ({by_status})"


def memory_line() -> str:
    """Return a line with the memory in use on this machine."""
    import psutil

    memory = psutil.virtual_memory()
    used, total = memory.used / 2**30, memory.total / 2**30
    return f"Memory usage on this node: {used:.1f}/{total:.1f} GiB"


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
