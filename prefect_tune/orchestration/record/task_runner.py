"""`BodyTaskRunner`: a Prefect task runner that sends only the bodies of tasks to a cluster."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Self
from uuid import UUID

from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.states import Crashed
from prefect.task_engine import run_task_async
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from prefect_tune.execution.driver.submit import (
    current_annotations,
    run_coroutine_function,
    submit_body,
)
from prefect_tune.orchestration.record.engine_loop import EngineLoop
from prefect_tune.orchestration.record.texts import new_task_run_id

#: Calls a function with its args, its kwargs and Dask annotations on a cluster, as `submit_body`.
Ship = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], dict[str, Any]], Future[Any]]


class BodyTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """Runs the bodies of tasks on a cluster, and their engines in the flow process.

    Workers need neither Prefect nor a route to its API, and a task run costs a few milliseconds
    instead of the 200 of a runner that also sends the engine. On the other hand, a body has no
    Prefect context: no run logger, no nested `submit`.

    ``with dask.annotate(resources=..., workers=...)`` around `submit` and `map` is honoured.

    Args:
        ship: Calls a function on the cluster.

    Example::

        @flow(task_runner=BodyTaskRunner.on("tcp://scheduler:8786"))
        def pipeline():
            return prepare.map(range(10)).result()
    """

    def __init__(self, ship: Ship) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ship = ship
        self._engines = EngineLoop()

    @classmethod
    def on(cls, cluster: Any = None) -> Self:
        """Make a runner for a Dask cluster.

        Args:
            cluster: As for `prefect_tune.run`: None for the cluster of `prefect_tune.init`, else
                one in this process; an address, a cluster object or a `distributed.Client`.
        """

        @functools.cache
        def connected() -> Any:
            from prefect_tune.execution.cluster.api import connect

            return connect(cluster)

        def ship(*call: Any) -> Future[Any]:
            # Connects at the first task, because making a flow must not connect to anything.
            return submit_body(connected(), *call)

        return cls(ship)

    def duplicate(self) -> Self:
        """Return a runner for the same cluster that has not been started."""
        return type(self)(self._ship)

    def submit(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        """Start a task run whose body runs on the cluster."""
        context = contextvars.copy_context()
        return self._start(self._remote(task), parameters, context, wait_for, dependencies)

    def submit_here(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        context: contextvars.Context,
        task_run_id: UUID | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        """Start a task run whose body, a coroutine function, runs in the flow process.

        Args:
            task: The task.
            parameters: Arguments of the task.
            context: Context to use in place of the caller's, e.g. that of a parent task.
            task_run_id: Id of the task run, from `new_task_run_id`; a new one by default.
        """
        return self._start(task, parameters, context.copy(), task_run_id=task_run_id)

    def finish(self, timeout: float | None) -> bool:
        """Wait for all task runs, and accept no more.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Returns:
            False if some have not ended in time.
        """
        return self._engines.close(timeout)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        # A flow that is being terminated must not wait for its tasks, which end as crashed.
        self._engines.close(timeout=None if exc_type is None else 0)
        super().__exit__(exc_type, exc_value, traceback)

    def _start(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        context: contextvars.Context,
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
        task_run_id: UUID | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        if not self._started:
            raise RuntimeError("The task runner must be started before submitting work.")
        task_run_id = task_run_id or new_task_run_id()
        engine = functools.partial(
            run_task_async,
            task,
            task_run_id=task_run_id,
            parameters=parameters,
            wait_for=wait_for,
            return_type="state",
            dependencies=dependencies,
        )
        state = self._engines.run(engine, (parameters, wait_for), context)
        return PrefectConcurrentFuture(task_run_id, state)

    def _remote(self, task: Task[..., Any]) -> Task[..., Any]:
        """Copy a task with a body on the cluster; name, key, hooks and options stay."""
        annotations, is_coroutine = current_annotations(), inspect.iscoroutinefunction(task.fn)

        @functools.wraps(task.fn)
        async def body(*args: Any, **kwargs: Any) -> Any:
            function: Callable[..., Any] = task.fn
            if is_coroutine:
                function, args = run_coroutine_function, (function, *args)
            try:
                return await asyncio.wrap_future(self._ship(function, args, kwargs, annotations))
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "distributed":
                    raise
                # An error of Dask, such as a lost worker, is not one of the body.
                return Crashed(message=f"{type(error).__name__}: {error}")

        remote = copy.copy(task)
        remote.fn = body
        remote.isasync = True
        return remote
