"""Threads in which the caller's Prefect runs and settings are in effect."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any


def make_thread(name: str, function: Callable[..., object], *args: Any) -> threading.Thread:
    """Make a daemon thread that calls a function in a copy of the caller's context."""
    run = contextvars.copy_context().run
    return threading.Thread(target=run, args=(function, *args), name=name, daemon=True)
