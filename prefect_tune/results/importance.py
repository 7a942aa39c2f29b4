"""Estimate how much each parameter influences the metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prefect_tune.experiment.plain import finite_number
from prefect_tune.text import in_words

FEWEST_TRIALS = 6
_MOST_BINS = 8
_PER_BIN = 5


def importance(
    parameters: Sequence[Mapping[str, Any]], values: Sequence[float], mode: str
) -> dict[str, float]:
    """Estimate how much of the differences between trials each parameter explains by itself.

    A one-way analysis of variance for each parameter: numbers are put into up to eight bins with
    the same number of trials each, other values are groups by themselves, and so are trials without
    the parameter. The share is Kelley's epsilon squared (1935), which subtracts what chance alone
    would explain; it estimates the first-order term of a functional ANOVA. Values count by
    their ranks, so that a few diverged trials do not decide; NaN and infinity rank last. The share
    does not include interactions between parameters.

    Args:
        parameters: The flattened parameters of each trial.
        values: The metric of each trial.
        mode: ``min`` or ``max``.

    Returns:
        Parameter -> share from 0 to 1, largest first; empty with fewer than `FEWEST_TRIALS` trials
        or if all have the same value.
    """
    if len(values) < FEWEST_TRIALS:
        return {}
    ranks = _ranks(values, mode)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if total == 0.0:
        return {}
    names = dict.fromkeys(name for trial in parameters for name in trial)
    shares = {}
    for name in names:
        groups = _group_labels([trial.get(name, _MISSING) for trial in parameters])
        shares[name] = _share(groups, ranks, total)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


_MISSING = object()


def _ranks(values: Sequence[float], mode: str) -> np.ndarray:
    worst = math.inf if mode == "min" else -math.inf
    array = np.array([value if value == value else worst for value in values], dtype=float)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[inverse]  # equal values share a rank
    return ranks


def _group_labels(values: Sequence[Any]) -> np.ndarray:
    numbers = [v for v in values if v is not _MISSING]
    numeric = all(not isinstance(v, bool) and finite_number(v) is not None for v in numbers)
    bins = min(_MOST_BINS, max(2, len(numbers) // _PER_BIN))
    if numeric and len(set(numbers)) > bins:
        edges = np.quantile(np.array(numbers, dtype=float), np.linspace(0, 1, bins + 1)[1:-1])
        labels = [
            "missing" if v is _MISSING else str(int(np.searchsorted(edges, v))) for v in values
        ]
    else:
        labels = ["missing" if v is _MISSING else in_words(v, repr) for v in values]
    return np.unique(labels, return_inverse=True)[1]


def _share(groups: np.ndarray, ranks: np.ndarray, total: float) -> float:
    count = int(groups.max()) + 1
    freedom = len(ranks) - count
    if count < 2 or freedom < 1:
        return 0.0
    sizes = np.bincount(groups)
    means = np.bincount(groups, ranks) / sizes
    within = float(((ranks - means[groups]) ** 2).sum())
    between = total - within
    return max(0.0, (between - (count - 1) * within / freedom) / total)
