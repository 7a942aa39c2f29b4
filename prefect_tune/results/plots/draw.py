"""Draw pictures of an experiment; matplotlib is imported with the first one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.trial import Trial
from prefect_tune.results.importance import FEWEST_TRIALS, importance
from prefect_tune.results.journal_summary import Copy
from prefect_tune.results.plots.contours import draw_contour
from prefect_tune.results.plots.curves import Curve, draw_curves, read_curves
from prefect_tune.results.plots.front import draw_front
from prefect_tune.results.plots.lineage import draw_lineage
from prefect_tune.results.plots.parallel import draw_parallel
from prefect_tune.results.plots.picture import FULL, INK, Plot, label, new_figure, style
from prefect_tune.results.plots.slices import PER_ROW, draw_slices, rows_for
from prefect_tune.validation import check_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from prefect_tune.results.analysis import ExperimentAnalysis

PARETO, LINEAGE = "pareto", "lineage"
_LABEL_LENGTH = 32
#: How many parameters a kind of picture shows unless the user chooses them.
MOST_SHOWN = {"overview": 9, "slices": 9, "parallel": 12, "contours": 4}


def plot_experiment(
    analysis: ExperimentAnalysis, metric: str, mode: str, path: str | os.PathLike[str]
) -> str:
    """Draw the learning curves of all trials and, below, their last values by parameter.

    The best trial is highlighted; trials that ended before the longest one are drawn lighter.
    Parameters that span decades get a logarithmic axis, those with few values one place each.

    Args:
        analysis: The experiment.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``: what makes a trial the best.
        path: Where to write the PNG.

    Returns:
        The path.

    Raises:
        TuneError: If no trial reported a finite value of the metric.
        InvalidArgument: If `mode` has another value.
        ImportError: If matplotlib is not installed; says what to install.
    """
    return draw(analysis.trials, "overview", {metric: check_mode(mode)}).save(path)


def draw(
    trials: Sequence[Trial],
    kind: str,
    wanted: Mapping[str, str],
    parameters: Sequence[str] | None = None,
    curves: list[Curve] | None = None,
    copies: Sequence[Copy] = (),
) -> Plot:
    """Draw a picture of trials.

    Args:
        trials: The trials.
        kind: One of `KINDS`.
        wanted: The metric and its mode; two of them for ``pareto``, none for ``lineage``.
        parameters: Parameters to show, flat; None is all that were searched, or of very many
            those that matter most.
        curves: The result of `read_curves`, if several pictures of one experiment share it.
        copies: The copies between trials, for ``lineage``.

    Raises:
        InvalidArgument: If there is no such kind or parameter.
        TuneError: If there is nothing to draw.
        ImportError: If matplotlib is not installed; says what to install.
    """
    if kind not in KINDS:
        raise InvalidArgument("kind", f"got {kind!r}.", f"It is one of {', '.join(KINDS)}.")
    if kind == PARETO:
        return _pareto(trials, wanted)
    if kind == LINEAGE:
        return Plot(draw_lineage(trials, copies, parameters), "Lineage")
    metric, mode = next(iter(wanted.items()))
    if curves is None:
        curves = read_curves(trials, metric, mode)
    if not curves:
        raise TuneError(f"There is nothing to plot: no trial reported a finite {metric!r}.")
    chosen = _check_parameters(curves, parameters)
    if parameters is None and kind in MOST_SHOWN:
        chosen = _most_important(curves, mode, chosen, MOST_SHOWN[kind])
    return _DRAWERS[kind](curves, metric, mode, chosen)


def _check_parameters(curves: Sequence[Curve], parameters: Sequence[str] | None) -> list[str]:
    searched = list(dict.fromkeys(name for c in curves for name in c.trial.evaluated_params))
    if parameters is None:
        return searched
    unknown = [name for name in parameters if name not in searched]
    if unknown:
        raise InvalidArgument(
            "parameters", f"{unknown[0]!r} was not searched.", f"There are {', '.join(searched)}."
        )
    return list(parameters)


def _most_important(
    curves: Sequence[Curve], mode: str, names: Sequence[str], most: int
) -> list[str]:
    """Return at most `most` parameters, the most important ones, in their given order."""
    if len(names) <= most:
        return list(names)
    shares = _shares(curves, mode, names)
    kept = sorted(names, key=lambda name: -shares.get(name, 0.0))[:most]
    return [name for name in names if name in kept]


def _shares(curves: Sequence[Curve], mode: str, names: Sequence[str]) -> dict[str, float]:
    searched = [
        {name: v for name, v in c.trial.evaluated_params.items() if name in names} for c in curves
    ]
    return importance(searched, [c.values[-1] for c in curves], mode)


def _overview(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    rows = rows_for(names)
    figure = new_figure(11, 4.4 + 2.9 * rows)
    grid = figure.add_gridspec(1 + rows, PER_ROW, height_ratios=[1.45, *[1] * rows], hspace=0.08)
    draw_curves(figure.add_subplot(grid[0, :]), curves, metric)
    draw_slices(figure, grid, 1, curves, names, metric)
    return Plot(figure, f"Overview: {metric}")


def _curves(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    figure = new_figure(11, 4.4)
    draw_curves(figure.add_subplot(), curves, metric)
    return Plot(figure, f"Learning curves: {metric}")


def _slices(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    figure = new_figure(11, 2.9 * rows_for(_require_parameters(names, 1)))
    draw_slices(figure, figure.add_gridspec(rows_for(names), PER_ROW), 0, curves, names, metric)
    return Plot(figure, f"{metric} by parameter")


def _parallel(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    count = len(_require_parameters(names, 1)) + 1
    # Wide figures get less room for each axis: a page would shrink them, and their text with them.
    figure = new_figure(max(8, 1.6 * count if count < 9 else 5.5 + 0.9 * count), 4.8)
    draw_parallel(figure.add_subplot(), curves, names, metric, mode)
    return Plot(figure, f"Parallel coordinates: {metric}")


def _importance(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    shares = _shares(curves, mode, _require_parameters(names, 1))
    if not shares:
        raise TuneError(
            f"There is nothing to plot: the importance of parameters needs {FEWEST_TRIALS} trials "
            f"with different values of {metric!r}; there are {len(curves)} trials."
        )
    figure = new_figure(9, 1.1 + 0.38 * len(shares))
    _draw_bars(figure.add_subplot(), shares, metric)
    return Plot(figure, f"Importance for {metric}")


def _draw_bars(axes: Axes, shares: Mapping[str, float], metric: str) -> None:
    """Draw a bar for each parameter, the largest at the top."""
    names = list(shares)[::-1]
    values = [shares[name] for name in names]
    places = range(len(names))
    bars = axes.barh(places, values, color=FULL, height=0.65)
    axes.set_yticks(places, [label(name, _LABEL_LENGTH) for name in names])
    axes.bar_label(bars, [f"{value:.0%}" for value in values], padding=4, color=INK, fontsize=9)
    axes.set_xlim(0, max(0.1, min(1.0, 1.15 * max(values))))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    share = f"share of the differences in {label(metric, _LABEL_LENGTH)} that it explains alone"
    axes.set_xlabel(share, color=INK)
    style(axes)
    axes.grid(visible=False, axis="y")


def _contours(curves: list[Curve], metric: str, mode: str, names: list[str]) -> Plot:
    shares = _shares(curves, mode, _require_parameters(names, 2))
    ordered = sorted(names, key=lambda name: -shares.get(name, 0.0))
    pairs = list(combinations(ordered, 2))
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(max(5.5, 4.2 * columns), 3.4 * rows)
    for position, pair in enumerate(pairs, 1):
        draw_contour(figure.add_subplot(rows, columns, position), curves, pair, metric, mode)
    return Plot(figure, f"{metric} by pairs of parameters")


def _pareto(trials: Sequence[Trial], wanted: Mapping[str, str]) -> Plot:
    if len(wanted) != 2:
        raise InvalidArgument(
            "metric", f"got {', '.join(wanted)}.", "A picture of a Pareto set needs two metrics."
        )
    figure = new_figure(8, 5)
    if not draw_front(figure.add_subplot(), trials, wanted):
        raise TuneError(f"There is nothing to plot: no trial reported {' and '.join(wanted)}.")
    figure.suptitle(label(" and ".join(wanted), 80), x=0.02, ha="left", fontsize=12, color=INK)
    return Plot(figure, f"Pareto set: {', '.join(wanted)}")


def _require_parameters(names: list[str], fewest: int) -> list[str]:
    if len(names) < fewest:
        raise TuneError(
            f"There is nothing to plot: the picture needs {fewest} searched "
            f"parameter{'s' if fewest > 1 else ''}; there {_count(len(names))}."
        )
    return names


def _count(number: int) -> str:
    return "are none" if number == 0 else f"is {number}" if number == 1 else f"are {number}"


_Drawer = Callable[[list[Curve], str, str, list[str]], Plot]
_DRAWERS: dict[str, _Drawer] = {
    "overview": _overview,
    "curves": _curves,
    "slices": _slices,
    "parallel": _parallel,
    "importance": _importance,
    "contours": _contours,
}
#: The kinds of pictures that `draw` can draw.
KINDS = (*_DRAWERS, PARETO, LINEAGE)
