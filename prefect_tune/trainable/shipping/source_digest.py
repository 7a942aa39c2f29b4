"""Computes a digest of a trainable's source, to detect changes."""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import Any


def code_digest(trainable: Any) -> str:
    """Return 16 hex digits that change with a trainable's source; "" if there is no source.

    Only the text of the function or class itself counts, not that of functions it calls.
    """
    while True:
        if isinstance(trainable, functools.partial):
            trainable = trainable.func
        elif hasattr(trainable, "__wrapped__"):
            trainable = trainable.__wrapped__
        else:
            break
    if not (inspect.isfunction(trainable) or inspect.ismethod(trainable)):
        trainable = trainable if inspect.isclass(trainable) else type(trainable)
    try:
        source = inspect.getsource(trainable)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:16]
