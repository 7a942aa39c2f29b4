"""Scale parameter values of any type to places from 0 to 1 on an axis."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from prefect_tune.results.plots.picture import label, number_on_axis
from prefect_tune.text import in_words

#: Stands for a missing value, since None may be a value.
MISSING: Any = object()
_TICKS = 5
_MAX_CATEGORIES = 8
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


def distinct(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the distinct values, in order if they have one, and the position of each value."""
    texts = [in_words(value, repr) for value in values]
    known = dict(zip(texts, values, strict=True))
    ordered = list(known)
    with contextlib.suppress(Exception):  # a user's class may raise anything
        ordered.sort(key=known.__getitem__)
    position = {text: i for i, text in enumerate(ordered)}
    return [known[text] for text in ordered], [position[text] for text in texts]


def is_categorical(values: Sequence[Any]) -> bool:
    """Return True if values are drawn as categories instead of numbers on a scale."""
    numeric = all(
        not isinstance(value, bool) and number_on_axis(value) is not None for value in values
    )
    return not numeric or len(set(values)) <= min(_MAX_CATEGORIES, len(values) // 3)


def spans_decades(values: Sequence[float]) -> bool:
    """Return True if a logarithmic scale spreads the values more evenly than a linear one."""
    low, middle, high = min(values), median(values), max(values)
    if low <= 0 or high / low < 30:
        return False
    linear = (middle - low) / (high - low)
    logarithmic = math.log(middle / low) / math.log(high / low)
    return abs(logarithmic - 0.5) < abs(linear - 0.5)
