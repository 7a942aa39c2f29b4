"""All that is used of Prefect although it is not public there, each with a way to do without it.

A new Prefect may move or drop any of it. Then what depends on it does less, as said here, and
`missing` names it, which a test of the pinned versions asks. The rest of the package uses Prefect's
documented names, and of its engine `run_task_async` and the contexts that integrations use as well.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from prefect.blocks.core import Block

from prefect_tune.error import InvalidArgument

#: Module, then the names in it, as `missing` gives them: ``module:name``.
USED = (
    "prefect._internal.compatibility.async_dispatch:async_dispatch",
    "prefect._internal.concurrency.cancellation:_get_thread_shield",
    "prefect._internal.control_listener:get_intent",
    "prefect._internal.uuid7:uuid7",
    "prefect.context:FlowRunContext.__var__",
    "prefect.context:FlowRunContext.model_fields.flow_run_suspension_request",
    "prefect.events.worker:EventsWorker._instances",
    "prefect.server.api.server:SubprocessASGIServer._instances",
    "prefect.transactions:BaseTransaction.__var__",
    "prefect.utilities.engine:_prefect_sigterm_bridge_lock",
    "prefect.utilities.engine:_prefect_sigterm_handler",
)


def missing() -> list[str]:
    """Which of `USED` the installed Prefect does not have."""
    return [name for name in USED if not _exists(name)]


def _exists(name: str) -> bool:
    module, _, attributes = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            in_dict = isinstance(found, dict)
            found = found[attribute] if in_dict else getattr(found, attribute)
    except (ImportError, AttributeError, KeyError):
        return False
    return True


def load_block(name: str, argument: str, method: str, kind: str) -> Any:
    """Load a saved block.

    Args:
        name: ``[block://]KIND/NAME``.
        argument: What it was given as.
        method: What it must have, to be one of that kind.
        kind: What to give instead, ``KIND/NAME``.

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


def new_task_run_id() -> uuid.UUID:
    """An id for a task run; later ones sort behind, if Prefect can make such ids."""
    try:
        from prefect._internal.uuid7 import uuid7
    except ImportError:
        return uuid.uuid4()
    return uuid7()


def async_dispatch(async_implementation: Callable[..., Any]) -> Callable[[Any], Any]:
    """Let a method of a block be awaited in async code, as Prefect's are; else it is sync only."""
    try:
        from prefect._internal.compatibility.async_dispatch import async_dispatch as dispatch
    except ImportError:
        return lambda method: method
    return dispatch(async_implementation)


def set_context(context: contextvars.Context | None, kind: Any, value: Any) -> None:
    """Have code in `context` find `value` where it looks for Prefect's context of a kind.

    Without the variable behind it nothing is changed.

    Args:
        context: Where; None is here.
        kind: A class of Prefect's with a variable of its own, such as `FlowRunContext`.
        value: An instance, or None for none.
    """
    variable = getattr(kind, "__var__", None)
    if variable is not None and context is None:
        variable.set(value)
    elif variable is not None and context is not None:
        context.run(variable.set, value)


def suspension_request(flow_context: Any) -> Any:
    """Where a flow's context says that it is to be suspended; None if Prefect has no such thing."""
    return getattr(flow_context, "flow_run_suspension_request", None)


def without_suspension(flow_context: Any) -> Any:
    """The same context without a request to be suspended; itself if it can have none."""
    request = suspension_request(flow_context)
    if request is None:
        return flow_context
    return flow_context.model_copy(update={"flow_run_suspension_request": type(request)()})


def cancel_senders() -> int:
    """Cancel the background senders of events and logs; new ones start with the next item.

    Returns:
        How many events are lost. If the senders cannot be found, they go on, and 0.
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


class ThreadShield:
    """Holds back, inside of it, the exception that a time limit of Prefect's throws into a thread.

    If Prefect has no such shield, the exception comes when it comes.
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
        """True if an exception waits."""
        return getattr(self._shield, "_exception", None) is not None

    def __enter__(self) -> None:
        self._shield.__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._shield.__exit__(*exc_info)


def is_told_to_end(task_runner: Any, task_run_id: uuid.UUID | None) -> bool:
    """True if a task runner has ended, or has told one of its task runs to end.

    False if it does not show so: the sweep then goes on until it is told another way.
    """
    if not getattr(task_runner, "_started", True):
        return True
    ended = getattr(task_runner, "_cancel_events", {}).get(task_run_id)
    return ended is not None and bool(ended.is_set())


def server_of_prefect() -> str | None:
    """Address of the server that Prefect itself has started in this process; None if unknown."""
    module = sys.modules.get("prefect.server.api.server")
    servers: dict[Any, Any] = getattr(
        getattr(module, "SubprocessASGIServer", None), "_instances", {}
    )
    return next((str(server.api_url) for server in servers.values() if server.running), None)


def announced_intent() -> str | None:
    """What the supervisor of a flow run announces with its SIGTERM: ``cancel``, ``reschedule`` ...

    None if nothing, and always if Prefect does not tell; a cancelled flow run is then known by its
    state on the server alone.
    """
    try:
        from prefect._internal import control_listener

        return control_listener.get_intent()
    except (ImportError, AttributeError):
        return None


@contextlib.contextmanager
def taken_for_prefects(handler: Callable[..., Any]) -> Iterator[None]:
    """Have Prefect take an installed SIGTERM handler for its own.

    If it cannot be told so, it does not acknowledge the intent that comes with a SIGTERM, and the
    signal counts as a crash.
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
