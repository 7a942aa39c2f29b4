"""Why the process is told to end: what the supervisor of a flow run announces with its SIGTERM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect_tune.orchestration.prefect_internals import announced_intent, taken_for_prefects


@contextmanager
def stand_in(handler: Callable[..., Any]) -> Iterator[None]:
    """Have Prefect take an installed SIGTERM handler for its own.

    A worker or `serve` announces what its SIGTERM means (cancel, reschedule) and the flow engine
    acknowledges, but only while its own handler is installed; unannounced, the signal is a crash.
    During a sweep ours is installed, which ends the sweep in order and then raises the signal once
    more, so the engine gets its signal, only later.

    Args:
        handler: The handler that is installed now.
    """
    with taken_for_prefects(handler):
        yield


def announced() -> str | None:
    """What the supervisor has announced: ``cancel``, ``reschedule`` ...; None if nothing."""
    return announced_intent()
