"""JSON that any reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TextIO

from prefect_tune.text import in_words

#: Python does not write integers of thousands of digits.
_MOST_BITS = 8192


def write_json(value: Any, file: TextIO) -> None:
    """Write a value as JSON proper, with what JSON has no word for as text.

    Args:
        value: The value.
        file: Where to write it, with a line end behind it.
    """
    json.dump(_plain(value), file, indent=1, default=in_words)
    file.write("\n")


def _plain(value: Any) -> Any:
    """NaN and infinity as text: JSON proper has no numbers for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return in_words(value)
    if isinstance(value, Mapping):
        return {in_words(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
