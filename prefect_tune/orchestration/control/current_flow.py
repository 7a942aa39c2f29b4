"""Flows that are an experiment themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from prefect.client.schemas.objects import State


class ThisFlow:
    """A flow that is an experiment itself.

    Attributes:
        final_state: The state that the flow run should end in; None before the experiment has.
    """

    def __init__(self) -> None:
        self.final_state: State[Any] | None = None
        self.taken = False


_this_flow: ContextVar[ThisFlow | None] = ContextVar("prefect_tune_this_flow", default=None)


@contextlib.contextmanager
def current_flow_is_experiment() -> Iterator[ThisFlow]:
    """Let the next experiment inside use the surrounding flow run instead of making one below it.

    For flows whose only purpose is one experiment. They should return its `final_state`.
    """
    this = ThisFlow()
    token = _this_flow.set(this)
    try:
        yield this
    finally:
        _this_flow.reset(token)


def this_flow() -> ThisFlow | None:
    """The surrounding flow, if it is an experiment itself."""
    return _this_flow.get()
