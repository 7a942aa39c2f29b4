"""Draw which trials continued from others' checkpoints, and their hyperparameters over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten_config
from prefect_tune.results.frames import trial_results
from prefect_tune.results.journal_summary import Copy
from prefect_tune.results.plots.picture import INK, label, new_figure, number_on_axis, style
from prefect_tune.results.plots.scales import MISSING, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_TRIALS = 60
_MOST_PARAMETERS = 6
_LABEL_LENGTH = 24


def draw_lineage(
    trials: Sequence[Trial], copies: Sequence[Copy], parameters: Sequence[str] | None
) -> Figure:
    """Draw the copies as arrows between the trials and, below, each hyperparameter over time.

    Args:
        trials: The trials; if they are too many, those in `copies` are preferred.
        copies: All copies of the experiment, in order.
        parameters: Parameters to show, flat; None is those that copies have changed.

    Raises:
        TuneError: If no trial went on from another one.
    """
    if not copies:
        raise TuneError("There is nothing to plot: no trial went on from another one.")
    involved = {name for copy in copies for name in (copy.trial_id, copy.source_id)}
    shown = sorted(trials, key=lambda trial: trial.trial_id not in involved)[:_MOST_TRIALS]
    histories = [_read_history(trial) for trial in shown]
    names = list(parameters or _changed_parameters(histories))[:_MOST_PARAMETERS]
    height = 1.4 + 0.22 * len(shown)
    figure = new_figure(11, height + 2.2 * len(names))
    grid = figure.add_gridspec(1 + len(names), 1, height_ratios=[height, *[2.2] * len(names)])
    axes = figure.add_subplot(grid[0])
    _draw_copies(axes, shown, histories, copies)
    for row, name in enumerate(names, 1):
        below = figure.add_subplot(grid[row], sharex=axes)
        _draw_values(below, histories, name)
    figure.axes[-1].set_xlabel("training iteration", color=INK)
    return figure


#: Iterations of a trial's results, and the flat configuration at each.
_History = list[tuple[float, dict[str, Any]]]


def _read_history(trial: Trial) -> _History:
    return [
        (float(step), flatten_config(result.get("config") or trial.config))
        for result in trial_results(trial) or [trial.last_result]
        if (step := number_on_axis(result.get("training_iteration"))) is not None
    ]


def _changed_parameters(histories: Sequence[_History]) -> list[str]:
    """Return the parameters that had several values within one trial."""
    return list(
        dict.fromkeys(
            name
            for history in histories
            for _, config in history
            for name, value in config.items()
            if value != history[0][1].get(name, MISSING)
        )
    )


def _draw_copies(
    axes: Axes, trials: Sequence[Trial], histories: Sequence[_History], copies: Sequence[Copy]
) -> None:
    rows = {trial.trial_id: len(trials) - 1 - place for place, trial in enumerate(trials)}
    for trial, history in zip(trials, histories, strict=True):
        row = rows[trial.trial_id]
        axes.plot([0, max((s for s, _ in history), default=0)], [row, row], color=_color(row))
    for copy in copies:
        if copy.trial_id in rows and copy.source_id in rows:
            axes.annotate(
                "",
                xy=(copy.iteration, rows[copy.trial_id]),
                xytext=(copy.iteration, rows[copy.source_id]),
                arrowprops={"arrowstyle": "->", "color": _color(rows[copy.source_id])},
            )
    style(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(list(rows.values()), [label(trial, _LABEL_LENGTH) for trial in trials])
    axes.set_title(
        f"{len(copies)} cop{'y' if len(copies) == 1 else 'ies'}: from whom to whom",
        loc="left",
        fontsize=12,
        color=INK,
    )


def _draw_values(axes: Axes, histories: Sequence[_History], name: str) -> None:
    scale = scale_of([config.get(name, MISSING) for history in histories for _, config in history])
    places = iter(scale.places)
    for number, history in enumerate(histories):
        known: list[tuple[float, float]] = []
        for step, _ in history:
            place = next(places)
            if known and step <= known[-1][0]:
                known.append((math.nan, math.nan))  # no line back to the copy's checkpoint
            if place is not None:
                known.append((step, place))
        axes.plot(
            [step for step, _ in known],
            [place for _, place in known],
            color=_color(len(histories) - 1 - number),
            linewidth=1.4,
            marker=".",
            drawstyle="steps-mid",
        )
    style(axes)
    axes.set_yticks([place for place, _ in scale.ticks], [text for _, text in scale.ticks])
    axes.set_ylabel(label(name, _LABEL_LENGTH), color=INK)


def _color(row: int) -> str:
    return f"C{row % 10}"
