"""Where values of parameters lie on axes that show many kinds of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.results.plots.slices import is_categorical, spans_decades
from prefect_tune.results.plots.style import label

#: Stands for a value that is not there; None is one.
MISSING: Any = object()
_TICKS = 5
_ROOM = 18


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from 0 to 1.

    Attributes:
        places: Where each value lies; None if it has none.
        ticks: Places of labels and the labels.
    """

    places: list[float | None]
    ticks: list[tuple[float, str]]


def scale_of(values: Sequence[Any]) -> Scale:
    """Return the axis for some values: numbers, their logarithms, or one place for each value.

    Args:
        values: The values; `MISSING` where there is none.
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
    ticks = [(place[text], label(known[text], _ROOM)) for text in ordered]
    return Scale([None if v is MISSING else place[repr(v)] for v in values], ticks)
