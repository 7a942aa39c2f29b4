"""Scale parameter values of any type to places from 0 to 1 on an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.results.plots.slices import is_categorical, spans_decades
from prefect_tune.results.plots.style import label

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
    known = {repr(value): value for value in values if value is not MISSING}
    try:
        ordered = sorted(known, key=lambda text: known[text])
    except TypeError:
        ordered = list(known)
    last = max(1, len(ordered) - 1)
    place = {text: 0.5 if len(ordered) == 1 else i / last for i, text in enumerate(ordered)}
    ticks = [(place[text], label(known[text], _LABEL_LENGTH)) for text in ordered]
    return Scale([None if v is MISSING else place[repr(v)] for v in values], ticks)
