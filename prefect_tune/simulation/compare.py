"""Compares schedulers and searchers on a model of training, by simulated sweeps."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_tune.error import InvalidArgument
from prefect_tune.reporters.console import draw_lines
from prefect_tune.results.plots.picture import INK, Plot, new_figure, style
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.simulation.cluster import SimulatedCluster
from prefect_tune.simulation.simulate import simulate
from prefect_tune.simulation.summary import Incumbent, SimulationSummary
from prefect_tune.simulation.surrogates import SURROGATES, Surrogate
from prefect_tune.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200
_COLORS = ("#2b6777", "#d1495b", "#e0a030", "#5b8c5a", "#7a5195", "#8a8a8a", "#3f88c5", "#b56576")
#: Horizontal axes of the plot of regret: label, and the place of a result and of the end on it.
_OVER: dict[str, tuple[str, Callable[[Incumbent], float], Callable[[SimulationSummary], float]]] = {
    "time": ("hours on the cluster", lambda i: i.time / 3600, lambda s: s.seconds / 3600),
    "cost": ("trial hours", lambda i: i.hours, lambda s: s.trial_hours),
}


@dataclass(frozen=True)
class Outcome:
    """Results of one way to search (a scheduler or searcher), over all seeds.

    Attributes:
        name: Its name.
        runs: Summary of each simulated sweep.
        regrets: Final regret of each: the distance of its best result from the optimum.
    """

    name: str
    runs: Sequence[SimulationSummary]
    regrets: Sequence[float]

    @property
    def median_regret(self) -> float:
        """Median of the final regrets."""
        return statistics.median(self.regrets)


@dataclass(frozen=True)
class Comparison:
    """Results of several ways to search, in the order in which these were given.

    Attributes:
        outcomes: The results of each way, by its name.
        metric: The metric.
        mode: ``min`` or ``max``.
        optimum: The value with regret 0: the known optimum, or the best result of all.
    """

    outcomes: Mapping[str, Outcome]
    metric: str
    mode: str
    optimum: float

    def regret_at(self, name: str, place: float, over: str = "time") -> list[float]:
        """Return the regret of each seed at a time or cost; infinite before the first result.

        Args:
            name: Which way to search.
            place: Hours on the cluster, or with ``over="cost"`` hours of trials.
            over: ``time`` or ``cost``.
        """
        _, where, _ = _over(over)
        return [
            min(
                (self._regret(i.value) for i in run.incumbents if where(i) <= place),
                default=math.inf,
            )
            for run in self.outcomes[name].runs
        ]

    def _regret(self, value: float) -> float:
        return value - self.optimum if self.mode == "min" else self.optimum - value

    def __str__(self) -> str:
        head = ("", "median regret", "middle half", "hours", "trial hours", "cost")
        rows = []
        for name, outcome in self.outcomes.items():
            low, _, high = _quartiles(outcome.regrets)
            runs = outcome.runs
            rows.append(
                (
                    name,
                    f"{outcome.median_regret:.4g}",
                    f"{low:.3g} to {high:.3g}",
                    f"{statistics.mean(run.seconds for run in runs) / 3600:.3g}",
                    f"{statistics.mean(run.trial_hours for run in runs):.3g}",
                    f"{statistics.mean(run.cost for run in runs):.3g}",
                )
            )
        return "\n".join(draw_lines(head, rows, [False] * len(head)))

    def plot(self, over: str = "time", path: str | os.PathLike[str] | None = None) -> Plot:
        """Draw the median regret over time or cost, with the quartiles of the seeds.

        Args:
            over: ``time`` (on the cluster) or ``cost`` (hours of trials).
            path: File to save the picture to: ``.png``, ``.svg``, ``.pdf`` or ``.html``.

        Raises:
            InvalidArgument: If an argument has another value.
            ImportError: If matplotlib is not installed; says what to install.
        """
        text, _, end = _over(over)
        figure = new_figure(7.5, 4.5)
        axes: Axes = figure.add_subplot()
        for number, (name, outcome) in enumerate(self.outcomes.items()):
            last = max(end(run) for run in outcome.runs)
            places = [last * (point + 1) / _POINTS for point in range(_POINTS)]
            bands = [_quartiles(self.regret_at(name, place, over)) for place in places]
            drawn = [
                (x, *band) for x, band in zip(places, bands, strict=True) if band[2] < math.inf
            ]
            if not drawn:
                continue
            x, low, middle, high = zip(*drawn, strict=True)
            color = _COLORS[number % len(_COLORS)]
            axes.plot(x, middle, color=color, label=name, drawstyle="steps-post")
            axes.fill_between(x, low, high, color=color, alpha=0.15, step="post", linewidth=0)
        axes.set_xlabel(text, color=INK)
        axes.set_ylabel(f"regret of {self.metric}", color=INK)
        style(axes)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
        picture = Plot(figure, f"Regret over {text}")
        if path is not None:
            picture.save(path)
        return picture


def compare(
    ways: Mapping[str, Any],
    model: Any,
    *,
    seeds: int = 20,
    optimum: float | None = None,
    cluster: SimulatedCluster | None = None,
    **arguments: Any,
) -> Comparison:
    """Simulate several ways to search with the same seeds, and return the regret of each.

    Args:
        ways: Names, each with a scheduler, a searcher, or a dict of arguments of `simulate` such as
            ``{"scheduler": ASHAScheduler(...), "num_samples": 100}``.
        model: The model of training; see `simulate`.
        seeds: Number of sweeps of each way; every way gets the same seeds.
        optimum: The best possible value; None is that of a stock model, or else the best result of
            all sweeps.
        cluster: The machines; None is one machine with 8 CPUs.
        **arguments: Arguments of `simulate`, for all ways.

    Raises:
        InvalidArgument: If an argument cannot work.
    """
    check_count("seeds", seeds, at_least=1)
    if not isinstance(ways, Mapping) or not ways:
        raise InvalidArgument("ways", f"got {ways!r:.80}.", "Give a dict of names and schedulers.")
    known = SURROGATES.get(model) if isinstance(model, str) else model
    if optimum is None and isinstance(known, Surrogate):
        optimum = known.optimum
    metric = mode = None
    runs: dict[str, list[SimulationSummary]] = {}
    for name, way in ways.items():
        given = {**arguments, **_arguments_of(way)}
        for seed in range(seeds):
            analysis = simulate(model, cluster=cluster, seed=seed, **given)
            metric, mode = analysis.default_metric, analysis.default_mode
            runs.setdefault(name, []).append(analysis.simulation)
    if metric is None or mode is None:
        raise InvalidArgument(
            "metric", "the sweeps have none, or several.", "Give `metric` and `mode`."
        )
    best = min if mode == "min" else max
    finals = {name: [_final(run) for run in some] for name, some in runs.items()}
    if optimum is None:
        optimum = best(value for values in finals.values() for value in values)
    sign = 1.0 if mode == "min" else -1.0
    outcomes = {
        name: Outcome(name, some, [sign * (value - optimum) for value in finals[name]])
        for name, some in runs.items()
    }
    return Comparison(outcomes, metric, mode, optimum)


def _arguments_of(way: Any) -> dict[str, Any]:
    if isinstance(way, Mapping):
        return dict(way)
    if way is None or isinstance(way, TrialScheduler):
        return {"scheduler": way}
    return {"search_alg": way}


def _final(run: SimulationSummary) -> float:
    if not run.incumbents:
        raise InvalidArgument("model", "a sweep has reported no value of the metric.")
    return run.incumbents[-1].value


def _over(
    name: str,
) -> tuple[str, Callable[[Incumbent], float], Callable[[SimulationSummary], float]]:
    if name not in _OVER:
        raise InvalidArgument("over", f"got {name!r}.", f"It is one of {', '.join(_OVER)}.")
    return _OVER[name]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return at(0.25), at(0.5), at(0.75)
