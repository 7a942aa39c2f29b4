"""Draw two metrics against each other, with the Pareto set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefect_tune.experiment.trial import Trial
from prefect_tune.results.plots.picture import BEST, EARLY, INK, label, number_on_axis, style
from prefect_tune.results.ranking import pareto_front, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL_LENGTH = 40


def draw_front(axes: Axes, trials: Sequence[Trial], wanted: Mapping[str, str]) -> int:
    """Draw all trials by two metrics, the Pareto set in red.

    Args:
        axes: The axes to draw on.
        trials: The trials.
        wanted: Two metrics with their modes.

    Returns:
        How many trials were drawn.
    """
    (first, first_mode), (second, second_mode) = wanted.items()
    front = pareto_front(trials, wanted)
    chosen = {trial.trial_id for trial in front}

    def points(some: Sequence[Trial]) -> list[tuple[float, float]]:
        pairs = [
            tuple(number_on_axis(score(trial, *objective)) for objective in wanted.items())
            for trial in some
        ]
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    rest = points([trial for trial in trials if trial.trial_id not in chosen])
    best = points(front)
    for places, color, size, text in (
        (rest, EARLY, 22, f"beaten by another ({len(rest)})"),
        (best, BEST, 48, f"Pareto set ({len(best)})"),
    ):
        if places:
            axes.scatter(
                [x for x, _ in places],
                [y for _, y in places],
                s=size,
                color=color,
                edgecolors="white",
                label=text,
            )
    if len(best) > 1:
        axes.plot(*zip(*best, strict=True), color=BEST, linewidth=1, alpha=0.6, zorder=0)
    axes.set_xlabel(f"{label(first, _LABEL_LENGTH)} ({first_mode})", color=INK)
    axes.set_ylabel(f"{label(second, _LABEL_LENGTH)} ({second_mode})", color=INK)
    style(axes)
    if rest or best:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return len(rest) + len(best)
