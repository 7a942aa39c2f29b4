"""Where values of parameters lie on axes that show many kinds of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.plots.slices import is_categorical, spans_decades

_TICKS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from 0 to 1.

    Attributes:
        places: Where each value lies; None if it has none.
        ticks: Places of labels and the labels.
    """

    places: list[float | None]
    ticks: list[tuple[float, str]]


def scale_of(values: Sequence[Any], missing: Any = None) -> Scale:
    """The axis for some values: numbers, their logarithms, or one place for each value.

    Args:
        values: The values.
        missing: Stands for a value that is not there.
    """
    known = [value for value in values if value is not missing]
    if not known:
        return Scale([None] * len(values), [])
    if is_categorical(known):
        return _categories(values, missing)
    log = spans_decades(known)
    numbers = [None if v is missing else math.log10(v) if log else float(v) for v in values]
    given = [number for number in numbers if number is not None]
    low, high = min(given), max(given)
    span = high - low or 1.0
    steps = [low + span * step / (_TICKS - 1) for step in range(_TICKS)]
    labels = [f"{10**step if log else step:.2g}" for step in steps]
    ticks = [((step - low) / span, label) for step, label in zip(steps, labels, strict=True)]
    return Scale([None if n is None else (n - low) / span for n in numbers], ticks)


def _categories(values: Sequence[Any], missing: Any) -> Scale:
    known = {repr(value): value for value in values if value is not missing}
    try:
        ordered = sorted(known, key=lambda text: known[text])
    except TypeError:
        ordered = list(known)
    last = max(1, len(ordered) - 1)
    place = {text: 0.5 if len(ordered) == 1 else i / last for i, text in enumerate(ordered)}
    ticks = [(place[text], str(known[text])[:16]) for text in ordered]
    return Scale([None if v is missing else place[repr(v)] for v in values], ticks)
