"""Which attempt is the current one."""

from __future__ import annotations

import os
from contextvars import ContextVar

from prefect_tune.trainable.runtime.attempt_session import Session

# A trial process has one session, which all its threads share. Trials that are threads of one
# process each have their own, by context variable.
_process_session: Session | None = None
_thread_session: ContextVar[Session | None] = ContextVar("prefect_tune_session", default=None)


def activate(session: Session | None, whole_process: bool) -> None:
    """Make `session` the current one, of the process or of this thread; None ends it."""
    global _process_session
    if whole_process:
        _process_session = session
    else:
        _thread_session.set(session)


def _forget_in_child() -> None:
    # A process that user code forks shares the socket; its reports would garble the trial's.
    activate(None, whole_process=True)
    activate(None, whole_process=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def current_session() -> Session | None:
    """The session of the trial that the caller runs in, or None outside a trial."""
    return _thread_session.get() or _process_session
