"""What a caller asks of Dask around a call, without making everyone import Dask."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def current_annotations() -> dict[str, Any]:
    """The annotations of the surrounding ``with dask.annotate(...)``; empty without any."""
    if "dask" not in sys.modules:
        return {}
    from dask.base import get_annotations

    return dict(get_annotations())


def run_coroutine_function(
    function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
) -> Any:
    """Call an ``async def`` function and wait for its result; runs on a worker thread."""
    return asyncio.run(function(*args, **kwargs))
