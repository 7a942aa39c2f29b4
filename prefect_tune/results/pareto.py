"""The Pareto set of trials, and trials that fulfil conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten, flatten_config
from prefect_tune.results.conditions import Condition
from prefect_tune.results.ranking import score
from prefect_tune.validation import check_mode

Objectives = Mapping[str, str]


def parse_objectives(
    metric: str | Sequence[str] | Objectives | None, mode: str | Sequence[str] | None
) -> dict[str, str]:
    """Check metrics and modes, and return them as a dict.

    Args:
        metric: Names of metrics, or a dict of names and modes.
        mode: One mode for all metrics, or one for each.

    Raises:
        InvalidArgument: If a metric or mode is missing, or a mode has another value.
    """
    if isinstance(metric, Mapping):
        return {name: check_mode(value) for name, value in metric.items()}
    names = [metric] if isinstance(metric, str) else list(metric or ())
    modes = [mode] * len(names) if isinstance(mode, str) else list(mode or ())
    if not names:
        raise InvalidArgument("metric", "no metrics to compare trials by.", "Give two or more.")
    if len(modes) != len(names):
        raise InvalidArgument(
            "mode", f"got {mode!r} for the metrics {names}.", 'Give "min" or "max" for each.'
        )
    return {name: check_mode(value) for name, value in zip(names, modes, strict=True)}


def satisfying(trials: Iterable[Trial], conditions: Sequence[Condition]) -> list[Trial]:
    """Return the trials whose last results and configurations fulfil all conditions."""
    if not conditions:
        return list(trials)
    return [trial for trial in trials if all(c.holds(flat_row(trial)) for c in conditions)]


def describe_unknown_names(trials: Iterable[Trial], conditions: Sequence[Condition]) -> str:
    """Describe the names in conditions that no trial has, with suggestions; "" if all are known."""
    known = {name for trial in trials for name in flat_row(trial)}
    words = []
    for name in dict.fromkeys(c.name for c in conditions if c.name not in known):
        meant = f"; is it config/{name}?" if f"config/{name}" in known else ""
        words.append(f" (no trial has {name!r}{meant})")
    return "".join(words)


def prefixed_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a configuration and put ``config/`` in front of each name."""
    return {f"config/{name}": value for name, value in flatten_config(config).items()}


def flat_row(trial: Trial) -> dict[str, Any]:
    """Return a trial's last result and configuration, flattened, the latter below ``config/``."""
    last = {key: value for key, value in trial.last_result.items() if key != "config"}
    return {**flatten(last), **prefixed_config(trial.config)}


def pareto_front(trials: Iterable[Trial], wanted: Objectives, scope: str = "last") -> list[Trial]:
    """Return the trials that no other trial beats, best of the first metric first.

    One trial beats another if it is at least as good in all metrics and better in one. Trials
    without a finite value of each metric are left out.

    Args:
        trials: The trials.
        wanted: Names of metrics with their modes, ``min`` or ``max``.
        scope: As for `best_of`.
    """
    costs: list[tuple[tuple[float, ...], int, Trial]] = []
    for position, trial in enumerate(trials):
        values = [(score(trial, name, mode, scope), mode) for name, mode in wanted.items()]
        cost = tuple(
            math.nan if value is None else -value if mode == "max" else value
            for value, mode in values
        )
        if all(map(math.isfinite, cost)):
            costs.append((cost, position, trial))
    costs.sort(key=lambda entry: entry[:2])
    front: list[tuple[tuple[float, ...], Trial]] = []
    for cost, _, trial in costs:
        # Sorted by cost, so that a trial can only be beaten by one that comes before it.
        if not any(_beats(other, cost) for other, _ in front):
            front.append((cost, trial))
    return [trial for _, trial in front]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
