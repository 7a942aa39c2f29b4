"""Wraps the names that this package uses of Prefect although they are not public.

A new version of Prefect may move or drop any of them. Then the functions here do less, as their
docstrings say; a test says which of them the pinned version lacks. The rest of the package uses
Prefect's documented names, and of its engine `run_task_async` and the contexts that integrations
use as well.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from prefect.blocks.core import Block

from prefect_tune.error import InvalidArgument


def load_block(name: str, argument: str, method: str, kind: str) -> Any:
    """Load a saved block.

    Args:
        name: ``[block://]KIND/NAME``.
        argument: Name of the argument, for errors.
        method: Name of a method that blocks of the right kind have.
        kind: ``KIND/NAME`` of a right block, for errors.

    Raises:
        InvalidArgument: If there is no such block, or it is one of another kind.
    """
    slug = name.removeprefix("block://")
    hint = f"Give block://{kind}."
    try:
        block: Any = Block.load(slug, _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        raise InvalidArgument(argument, f"there is no block {slug!r} ({error}).", hint) from error
    if not hasattr(block, method):
        raise InvalidArgument(argument, f"{slug!r} is a {type(block).__name__}.", hint)
    return block


def async_dispatch(async_implementation: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorate a method of a block so that async code may await it, if Prefect supports that."""
    try:
        from prefect._internal.compatibility.async_dispatch import async_dispatch as dispatch
    except ImportError:
        return lambda method: method
    return dispatch(async_implementation)


def set_context(context: contextvars.Context | None, kind: Any, value: Any) -> None:
    """Set Prefect's context of a kind; do nothing if Prefect has no variable for it.

    Args:
        context: The context to set it in; None for the current one.
        kind: A class of Prefect with a variable of its own, such as `FlowRunContext`.
        value: An instance, or None for none.
    """
    variable = getattr(kind, "__var__", None)
    if variable is not None and context is None:
        variable.set(value)
    elif variable is not None and context is not None:
        context.run(variable.set, value)


def suspension_request(flow_context: Any) -> Any:
    """Return a flow context's request for suspension; None if Prefect has no such object."""
    return getattr(flow_context, "flow_run_suspension_request", None)


def without_suspension(flow_context: Any) -> Any:
    """Copy a flow context without its request for suspension; return it itself if it has none."""
    request = suspension_request(flow_context)
    if request is None:
        return flow_context
    return flow_context.model_copy(update={"flow_run_suspension_request": type(request)()})


def cancel_senders() -> int:
    """Cancel the background senders of events and logs; new ones start with the next item.

    For an API that has gone for good: they try each item for seconds to a minute, one after the
    other, and the interpreter's exit waits for all of them.

    Returns:
        The number of dropped events. If the senders cannot be found, they continue, and it is 0.
    """
    from prefect.events.worker import EventsWorker

    lost = 0
    # All services of the process share one register.
    services: dict[Any, Any] = getattr(EventsWorker, "_instances", {})
    for service in tuple(services.values()):
        loop, running = getattr(service, "_loop", None), getattr(service, "_task", None)
        if isinstance(service, EventsWorker) and hasattr(service, "_queue"):
            lost += service._queue.qsize()
        if loop is not None and running is not None:
            loop.call_soon_threadsafe(running.cancel)
    return lost


class TimeoutDelay:
    """Context manager that delays the exception which a time limit of Prefect throws into a thread.

    If Prefect has no such shield, the exception is not delayed.
    """

    def __init__(self) -> None:
        try:
            from prefect._internal.concurrency.cancellation import _get_thread_shield
        except ImportError:
            self._shield: Any = contextlib.nullcontext()
        else:
            self._shield = _get_thread_shield(threading.current_thread())

    @property
    def holds_back(self) -> bool:
        """True if an exception is being delayed."""
        return getattr(self._shield, "_exception", None) is not None

    def __enter__(self) -> None:
        self._shield.__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._shield.__exit__(*exc_info)


def is_told_to_end(task_runner: Any, task_run_id: uuid.UUID | None) -> bool:
    """Return True if a task runner has ended, or has told one of its task runs to end.

    Return False if the runner does not show it: the sweep then continues until it is told another
    way.
    """
    if not getattr(task_runner, "_started", True):
        return True
    ended = getattr(task_runner, "_cancel_events", {}).get(task_run_id)
    return ended is not None and bool(ended.is_set())


def server_of_prefect() -> str | None:
    """Return the address of the server that Prefect has started in this process, or None."""
    module = sys.modules.get("prefect.server.api.server")
    servers: dict[Any, Any] = getattr(
        getattr(module, "SubprocessASGIServer", None), "_instances", {}
    )
    return next((str(server.api_url) for server in servers.values() if server.running), None)


def announced_intent() -> str | None:
    """Return what the supervisor of a flow run has announced with its SIGTERM, e.g. ``cancel``.

    Return None if it has announced nothing, and always if Prefect does not tell; then only the
    state on the server shows that a flow run is cancelled.
    """
    try:
        from prefect._internal import control_listener

        return control_listener.get_intent()
    except (ImportError, AttributeError):
        return None


@contextlib.contextmanager
def as_prefects_handler(handler: Callable[..., Any]) -> Iterator[None]:
    """Let Prefect count the installed SIGTERM handler as its own.

    A worker or `serve` announces what its SIGTERM means (cancel, reschedule), and the flow engine
    acknowledges that, but only while its own handler is installed. During a sweep the sweep's
    handler is installed, which ends the sweep in order and then raises the signal once more.

    If Prefect cannot be told so, it does not acknowledge the intent, and the signal counts as a
    crash.

    Args:
        handler: The handler that is installed now.
    """
    from prefect.utilities import engine

    if not hasattr(engine, "_prefect_sigterm_handler"):
        yield
        return
    original = engine._prefect_sigterm_handler
    lock = getattr(engine, "_prefect_sigterm_bridge_lock", None) or threading.Lock()
    with lock:
        engine._prefect_sigterm_handler = handler
    try:
        yield
    finally:
        with lock:
            engine._prefect_sigterm_handler = original
