"""`BodyTaskRunner`: a Prefect task runner that sends only the bodies of tasks to a cluster."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol, Self
from uuid import UUID

from prefect.client.schemas.objects import RunInput
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.states import Crashed
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from prefect_tune.execution.driver.submit import (
    current_annotations,
    run_coroutine_function,
    submit_body,
)
from prefect_tune.orchestration.record.engine_loop import EngineLoop
from prefect_tune.orchestration.record.texts import new_task_run_id


class Ship(Protocol):
    """Function that calls another one on a cluster, as `submit_body` does."""

    def __call__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        annotations: dict[str, Any],
        /,
    ) -> Future[Any]:
        """Call ``fn(*args, **kwargs)`` with these Dask annotations."""
        ...


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
        remote = _with_body(task, functools.partial(self._call, task, current_annotations()))
        return self._start(remote, parameters, contextvars.copy_context(), wait_for, dependencies)

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
        return self._start(task, parameters, context.copy(), None, None, task_run_id)

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
        wait_for: Iterable[PrefectFuture[Any]] | None,
        dependencies: dict[str, set[RunInput]] | None,
        task_run_id: UUID | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        if not self._started:
            raise RuntimeError("The task runner must be started before submitting work.")
        task_run_id = task_run_id or new_task_run_id()
        state = self._engines.run(
            task,
            parameters,
            task_run_id=task_run_id,
            context=context,
            wait_for=wait_for,
            dependencies=dependencies,
        )
        return PrefectConcurrentFuture(task_run_id, state)

    async def _call(
        self, task: Task[..., Any], annotations: dict[str, Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        function: Callable[..., Any] = task.fn
        if inspect.iscoroutinefunction(function):
            args = (function, *args)
            function = run_coroutine_function
        try:
            return await asyncio.wrap_future(self._ship(function, args, kwargs, annotations))
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "distributed":
                raise
            # An error of Dask, such as a lost worker, is not one of the body.
            return Crashed(message=f"{type(error).__name__}: {error}")


def _with_body(task: Task[..., Any], call: Callable[..., Any]) -> Task[..., Any]:
    """Copy a task with another body; name, key, hooks and options stay."""

    @functools.wraps(task.fn)
    async def body(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    remote = copy.copy(task)
    remote.fn = body
    remote.isasync = True
    return remote
