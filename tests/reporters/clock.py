"""A clock for reporters alone.

A changed `time.monotonic` would be everybody's: the event loops of a cluster that happens to live
in this process take it for theirs, and what they put off until then never happens.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest


class _Time:
    """The module `time` with another time of day."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.time = self.monotonic = now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], float], *others: Any) -> None:
    """Have all reporters, and other modules, ask this clock."""
    found = [m for name, m in sys.modules.items() if name.startswith("prefect_tune.reporters.")]
    for module in (*found, *others):
        if getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", _Time(now))
