"""Keeps the session of the current process or thread."""

from __future__ import annotations

import os
from contextvars import ContextVar

from prefect_tune.trainable.runtime.attempt_session import Session

# A trial process has one session, which all its threads share. Trials that run as threads of one
# process have one session each, in a context variable.
_process_session: Session | None = None
_thread_session: ContextVar[Session | None] = ContextVar("prefect_tune_session", default=None)


def activate(session: Session | None, whole_process: bool) -> None:
    """Set the current session of the process or of this thread; None removes it."""
    global _process_session
    if whole_process:
        _process_session = session
    else:
        _thread_session.set(session)


def _reset_in_child() -> None:
    # A process that user code forks shares the socket; its reports would corrupt the trial's.
    activate(None, whole_process=True)
    activate(None, whole_process=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)


def current_session() -> Session | None:
    """Return the session of the trial that the caller runs in; None outside a trial."""
    return _thread_session.get() or _process_session
