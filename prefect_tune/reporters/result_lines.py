"""`TrialProgressCallback`: print results and ends of trials."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten
from prefect_tune.reporters.columns import (
    as_cell,
    brief_parameters,
    error_file,
    user_metrics,
)
from prefect_tune.reporters.console import write_text
from prefect_tune.reporters.trial_output import LineBudget
from prefect_tune.text import in_words

_INTERVAL_S = 5.0
_BURST = 400
_PER_S = 4.0
_FULL = 3
#: Constants of a trial that every result repeats.
_LEFT_OUT = frozenset({"config", "experiment_id", "experiment_tag"})


class TrialProgressCallback(Callback):
    """Prints results of trials: at verbosity 2 in one line, at 3 with all metrics.

    A trial's results are printed at most every 5 s and at its end. All trials together print at
    most 400 lines at once, and then 4 lines a second.

    Args:
        metric: The metric that is optimised; shown in brief lines.
        progress_metrics: Further metrics to show; None shows all, in brief lines the first three.
        verbose: 2 prints one line, 3 all metrics.
    """

    def __init__(
        self,
        metric: str | Sequence[str] | None = None,
        progress_metrics: Sequence[str] | None = None,
        verbose: int = _FULL,
    ) -> None:
        self._metrics = [metric] if isinstance(metric, str) else list(metric or ())
        self._progress_metrics = None if progress_metrics is None else list(progress_metrics)
        self._verbose = verbose
        self._last_printed: dict[str, float] = {}
        self._budget = LineBudget(_BURST, _PER_S)

    @override
    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        now = time.monotonic()
        last_printed = self._last_printed.get(trial.trial_id)
        if last_printed is not None and now - last_printed < _INTERVAL_S:
            return
        self._last_printed[trial.trial_id] = now
        self._print(self._describe(trial, result, ""))

    @override
    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._last_printed.pop(trial.trial_id, None)
        self._print(self._describe(trial, trial.last_result, "This trial completed."))

    @override
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._last_printed.pop(trial.trial_id, None)
        reason = "" if trial.error is None else f" ({str(trial.error).splitlines()[0][:200]})"
        parameters = brief_parameters(trial.evaluated_params)
        self._print(
            f"Trial {trial} failed{reason} with parameters={parameters}. "
            f"Error file: {error_file(trial)}"
        )

    @override
    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._print_refused_count(last=True)

    def _describe(self, trial: Trial, result: dict[str, Any], remark: str) -> str:
        flat = flatten(result)
        others = self._progress_metrics
        if self._verbose >= _FULL:
            names = sorted(flat) if others is None else others
            lines = [f"Result for {trial}:"]
            lines += [
                f"  {name}: {_format_fully(flat[name])}"
                for name in names
                if flat.get(name) is not None and name.split("/")[0] not in _LEFT_OUT
            ]
            return "\n".join([*lines, f"Trial {trial} completed."] if remark else lines)
        names = [*self._metrics, *(user_metrics([trial], limit=3) if others is None else others)]
        shown = [f"{name}={as_cell(flat[name])}" for name in dict.fromkeys(names) if name in flat]
        text = f"Trial {trial} reported {', '.join(shown) or 'nothing'}"
        return (
            f"{text} with parameters={brief_parameters(trial.evaluated_params)}. {remark}".rstrip()
        )

    def _print(self, text: str) -> None:
        if self._budget.allow(text.count("\n") + 1):
            self._print_refused_count()
            write_text(text)

    def _print_refused_count(self, last: bool = False) -> None:
        refused = self._budget.count_to_report(last)
        if refused:
            write_text(f"... {refused} more lines about results of trials are not shown")


def _format_fully(value: Any) -> str:
    return in_words(value) if type(value) is int else as_cell(value, 200, 6)
