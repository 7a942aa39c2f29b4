"""A digest of a trainable's source, to notice that it has changed."""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import Any


def code_digest(trainable: Any) -> str:
    """16 hex digits that change with the source text of a trainable; "" if there is no source.

    Only its own text counts, not that of what it calls.
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
