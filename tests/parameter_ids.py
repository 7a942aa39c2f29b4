"""Names of test parameters that are the same in each process that collects them."""

from __future__ import annotations

import re


def stable_repr(value: object) -> str:
    """The value's representation without addresses of objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
