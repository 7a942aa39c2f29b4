"""Scale parameter values of any type to places from 0 to 1 on an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.results.plots.picture import label
from prefect_tune.results.plots.slices import distinct, is_categorical, spans_decades

#: Stands for a missing value, since None may be a value.
MISSING: Any = object()
_TICKS = 5
_LABEL_LENGTH = 18


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from 0 to 1: the places of values and of tick labels.

    Attributes:
        places: The place of each value; None for a missing one.
        ticks: The place and the text of each tick label.
    """

    places: list[float | None]
    ticks: list[tuple[float, str]]


def scale_of(values: Sequence[Any]) -> Scale:
    """Make the axis for some values: linear, logarithmic, or one place for each value.

    Args:
        values: The values, or `MISSING`.
    """
    known = [value for value in values if value is not MISSING]
    if not known:
        return Scale([None] * len(values), [])
    if is_categorical(known):
        return _categories(values)
    log = spans_decades(known)
    numbers = [None if v is MISSING else math.log10(v) if log else float(v) for v in values]
    given = [number for number in numbers if number is not None]
    low, high = min(given), max(given)
    span = high - low or 1.0
    steps = [low + span * step / (_TICKS - 1) for step in range(_TICKS)]
    texts = [f"{10**step if log else step:.2g}" for step in steps]
    ticks = [((step - low) / span, text) for step, text in zip(steps, texts, strict=True)]
    return Scale([None if n is None else (n - low) / span for n in numbers], ticks)


def _categories(values: Sequence[Any]) -> Scale:
    categories, positions = distinct([value for value in values if value is not MISSING])
    last = len(categories) - 1
    places = [i / last if last else 0.5 for i in range(len(categories))]
    ticks = [(place, label(v, _LABEL_LENGTH)) for place, v in zip(places, categories, strict=True)]
    of_known = iter(positions)
    return Scale([None if v is MISSING else places[next(of_known)] for v in values], ticks)
