"""Marks flows whose only purpose is one experiment, which then makes no subflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.objects import State


@dataclass(slots=True)
class ExperimentFlowRun:
    """Flow run whose only purpose is one experiment.

    Attributes:
        final_state: The state that the flow run should end in; None until the experiment has ended.
        taken: True once an experiment has begun in it.
    """

    final_state: State[Any] | None = None
    taken: bool = False


_current: ContextVar[ExperimentFlowRun | None] = ContextVar("prefect_tune_flow", default=None)


@contextlib.contextmanager
def current_flow_is_experiment() -> Iterator[ExperimentFlowRun]:
    """Let the next experiment inside use the surrounding flow run instead of making a subflow.

    For flows whose only purpose is one experiment. They should return its `final_state`.
    """
    flow_run = ExperimentFlowRun()
    token = _current.set(flow_run)
    try:
        yield flow_run
    finally:
        _current.reset(token)


def experiment_flow_run() -> ExperimentFlowRun | None:
    """Return the surrounding flow run if its only purpose is one experiment, else None."""
    return _current.get()
