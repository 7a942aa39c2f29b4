"""`EngineLoop`: runs task engines in one thread, with one event loop and one API client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_all
from contextvars import Context
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import AsyncClientContext
from prefect.futures import PrefectFuture, PrefectWrappedFuture
from prefect.states import Crashed, exception_to_crashed_state
from prefect.utilities.collections import visit_collection

from prefect_tune.orchestration.threads import make_thread

_CANCEL_SECONDS = 5.0


class EngineLoop:
    """Runs Prefect's task engine for many async tasks at once in a thread.

    A task engine that finds no client in its context makes one, with an SSL context, which costs
    more than all the rest of a task run. So all engines share one client.

    The thread starts with the first task; no method waits for the API.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()
        self._client: asyncio.Future[AsyncClientContext] | None = None
        self._running: set[Future[State[Any]]] = set()

    def run(
        self, engine: Callable[[], Coroutine[Any, Any, Any]], after: Any, context: Context
    ) -> Future[State[Any]]:
        """Run the engine of an async task, which makes a task run.

        Args:
            engine: Runs the task to its final state.
            after: The futures of other task runs in it, at any depth, are awaited first.
            context: The context with parents, tags and settings; not to be used elsewhere.

        Returns:
            A future of the final state. It has no exception, because every error becomes a state.

        Raises:
            RuntimeError: If the loop has been closed.
        """
        with self._lock:
            loop = self._started()
            done: Future[State[Any]] = Future()
            self._running.add(done)
        done.add_done_callback(self._running.discard)

        def start() -> None:
            drive = self._drive(done, engine, after)
            asyncio.create_task(drive, context=context)  # noqa: RUF006 - the loop awaits all

        loop.call_soon_threadsafe(start)
        return done

    def close(self, timeout: float | None = None) -> bool:
        """Wait for the engines that still run, then end the thread.

        Args:
            timeout: Seconds to wait; None for as long as it takes. Engines that are not done then
                are cancelled: their task runs end as crashed.

        Returns:
            False if engines were cancelled.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            running = set(self._running)
        if loop is None or self._thread is None:
            return True
        unfinished = wait_all(running, timeout=timeout).not_done
        loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=_CANCEL_SECONDS)
        return not unfinished

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None:
            return self._loop
        if self._thread is not None:
            raise RuntimeError("the engine loop is closed")
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = make_thread("prefect-task-engines", asyncio.run, self._main(started))
        self._thread.start()
        self._loop = started.result()
        return self._loop

    async def _main(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        loop = asyncio.get_running_loop()
        self._client = loop.create_future()
        started.set_result(loop)
        try:
            async with AsyncClientContext() as client:
                self._client.set_result(client)
                await self._stop.wait()
        except Exception as error:
            if self._client.done():
                raise
            self._client.set_exception(error)
            await self._stop.wait()

    async def _drive(
        self,
        done: Future[State[Any]],
        engine: Callable[[], Coroutine[Any, Any, Any]],
        after: Any,
    ) -> None:
        try:
            if self._client is not None:
                client = await asyncio.shield(self._client)
                # A context is entered only once, so a copy is; the client in it is the same.
                client.model_copy().__enter__()
            await _upstream(after)
            state = await engine()
        except asyncio.CancelledError:
            state = Crashed(message="The flow ended before this task run did.")
        except BaseException as error:
            state = await exception_to_crashed_state(error)
        done.set_result(state)


async def _upstream(expression: Any) -> None:
    """Await the futures in an expression, for which the engine would block this event loop."""
    futures: list[PrefectFuture[Any]] = []

    def collect(item: Any) -> None:
        if isinstance(item, PrefectFuture):
            futures.append(item)

    visit_collection(expression, visit_fn=collect, return_data=False)
    for future in futures:
        if isinstance(future, PrefectWrappedFuture) and isinstance(future.wrapped_future, Future):
            await asyncio.wait([asyncio.wrap_future(future.wrapped_future)])
        else:
            await asyncio.to_thread(future.wait)
