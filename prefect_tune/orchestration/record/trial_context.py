"""Makes Prefect's run contexts available to user code in a trial's process.

So user code may call `get_run_logger`, read `prefect.runtime` and call tasks as in any task, on
nodes that have no route to the API. This module does not import Prefect before user code does,
because a node may not have it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.util
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Attribute of a log record that the driver has received from a trial, and sends to the API.
FROM_TRIAL = "from_trial"
#: Seconds for which user code waits for its flow run.
_FLOW_RUN_S = 300.0


@dataclass(frozen=True, slots=True)
class TrialContext:
    """Flow run and task run of a trial; the `Surroundings` of its attempt.

    Attributes:
        flow_name: Name of the flow.
        flow_run: The flow run as JSON; "" if it does not exist yet.
        task_run: The attempt's task run as JSON; "" if it has none.
        api_url: Address of the API, for trials on nodes that have none configured.
        announced: File that will hold a flow run that does not exist yet.
    """

    flow_name: str
    flow_run: str
    task_run: str = ""
    api_url: str = ""
    announced: str = ""

    def awaited(self) -> TrialContext:
        """Wait for the flow run, and return the context with it."""
        if self.flow_run:
            return self
        directory, deadline = os.path.dirname(self.announced), time.monotonic() + _FLOW_RUN_S
        while os.path.isdir(directory) and time.monotonic() < deadline:
            if os.path.exists(self.announced):
                with open(self.announced, encoding="utf-8") as file:
                    return replace(self, flow_run=file.read())
            time.sleep(0.05)
        # On another machine, or without a server. Log lines are sent to the driver in any case.
        made_up = {"id": str(uuid.uuid4()), "flow_id": str(uuid.uuid4()), "name": self.flow_name}
        return replace(self, flow_run=json.dumps(made_up))

    @contextlib.contextmanager
    def __call__(self, log: Callable[[bytes], None], whole_process: bool) -> Iterator[None]:
        """Make the contexts available inside; see `Surroundings`."""
        trial = _Trial(self, log)
        _trials.append(trial)
        try:
            with trial.in_process() if whole_process else trial.in_thread():
                yield
        finally:
            _trials.remove(trial)


class _Trial:
    """Trial that runs in this process."""

    def __init__(self, given: TrialContext, log: Callable[[bytes], None]) -> None:
        self._given = given
        self._log = log
        self._pid = os.getpid()
        self._building = threading.RLock()
        self._built: dict[str, Any] | None = None

    @property
    def run_ids(self) -> tuple[str | None, ...]:
        """Ids of the task run and the flow run; None for one that does not exist yet."""
        texts = (self._given.task_run, self._given.flow_run)
        return tuple(json.loads(text)["id"] if text else None for text in texts)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """Make the contexts available in this thread."""
        if importlib.util.find_spec("prefect") is None:
            yield
            return
        import prefect.logging.handlers

        _divert_records(prefect.logging.handlers)
        with contextlib.ExitStack() as stack:
            for context in self._contexts().values():
                stack.enter_context(context)
            yield

    @contextlib.contextmanager
    def in_process(self) -> Iterator[None]:
        """Make the contexts available in all threads, once Prefect is imported."""
        if self._given.api_url:
            # Otherwise each trial that calls a flow would start its own server.
            os.environ.setdefault("PREFECT_API_URL", self._given.api_url)
        actions = {"prefect.context": self._offer, "prefect.logging.handlers": _divert_records}
        finder = _AfterImport({k: v for k, v in actions.items() if k not in sys.modules})
        for name, action in actions.items():
            if name in sys.modules:
                action(sys.modules[name])
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            if (module := sys.modules.get("prefect.context")) is not None:
                for context in (module.FlowRunContext, module.TaskRunContext):
                    if "get" in vars(context):
                        del context.get

    def send(self, record: logging.LogRecord, text: str) -> None:
        """Send a log record to the driver, except from processes that user code forks."""
        if os.getpid() == self._pid:
            line = {
                "name": record.name,
                "level": record.levelno,
                "created": record.created,
                "message": text,
                "of_task": getattr(record, "task_run_id", None) is not None
                or getattr(record, "flow_run_id", None) is None,
            }
            with contextlib.suppress(OSError):  # the node has gone
                self._log(json.dumps(line).encode())

    def _offer(self, module: ModuleType) -> None:
        """Let Prefect find these contexts where user code has entered none."""
        entered = module.ContextModel.get.__func__

        def get(cls: Any) -> Any:
            return entered(cls) or self._contexts().get(cls.__name__)

        for context in (module.FlowRunContext, module.TaskRunContext):
            context.get = classmethod(get)

    def _contexts(self) -> dict[str, Any]:
        """Return the contexts by class name, made when they are first needed."""
        with self._building:
            if self._built is None:
                self._built = {}  # for lookups while they are made
                self._given = self._given.awaited()
                self._built = _make_contexts(self._given)
            return self._built


_trials: list[_Trial] = []


def _make_contexts(given: TrialContext) -> dict[str, Any]:
    from prefect import Flow, Task
    from prefect.client.schemas.objects import FlowRun, TaskRun
    from prefect.context import FlowRunContext, TaskRunContext
    from prefect.results import ResultStore
    from prefect.task_runners import ThreadPoolTaskRunner

    def body() -> None:
        """Stand for the trainable."""

    flow_run = FlowRun.model_validate_json(given.flow_run)
    # Not validated: a client is required, and a node without a route to the API can have none.
    common: dict[str, Any] = {"client": None, "persist_result": False, "log_prints": False}
    contexts: list[Any] = [
        FlowRunContext.model_construct(
            flow=Flow(body, name=given.flow_name),
            flow_run=flow_run,
            parameters=flow_run.parameters,
            task_runner=ThreadPoolTaskRunner().__enter__(),
            result_store=ResultStore(),
            # As in a run in another process, so that tasks called here get unique keys.
            detached=True,
            **common,
        )
    ]
    if given.task_run:
        task_run = TaskRun.model_validate_json(given.task_run)
        task_run.flow_run_id = flow_run.id
        contexts.append(
            TaskRunContext.model_construct(
                task=Task(body, name="trial"),
                task_run=task_run,
                parameters={},
                result_store=ResultStore(),
                **common,
            )
        )
    return {type(context).__name__: context for context in contexts}


def _divert_records(module: ModuleType) -> None:
    """Send log records of trials to the driver, which has a route to the API."""
    handler: Any = module.APILogHandler
    to_api = handler.emit
    if hasattr(to_api, "diverted"):
        return

    @functools.wraps(to_api)
    def emit(self: Any, record: logging.LogRecord) -> None:
        trial = None if hasattr(record, FROM_TRIAL) else _trial_of(record)
        if trial is None:
            to_api(self, record)
            return
        from prefect.settings import get_current_settings

        if get_current_settings().logging.to_api.enabled and getattr(record, "send_to_api", True):
            try:
                trial.send(record, self.format(record))
            except Exception:
                self.handleError(record)

    emit.diverted = True  # type: ignore[attr-defined]
    handler.emit = emit


def _trial_of(record: logging.LogRecord) -> _Trial | None:
    """Return the trial of this process that a record belongs to, if there is one."""
    ids = [getattr(record, name, None) for name in ("task_run_id", "flow_run_id")]
    if not any(ids):
        from prefect.context import FlowRunContext, TaskRunContext

        task, flow = TaskRunContext.get(), FlowRunContext.get()
        ids = [
            None if task is None else task.task_run.id,
            None if flow is None or flow.flow_run is None else flow.flow_run.id,
        ]
    task_run_id, flow_run_id = (None if known is None else str(known) for known in ids)
    for trial in _trials:
        own_task_run, own_flow_run = trial.run_ids
        known, own = (task_run_id, own_task_run) if task_run_id else (flow_run_id, own_flow_run)
        if known is not None and known == own:
            return trial
    return None


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls functions with modules right after their import.

    Args:
        actions: The functions by names of modules.
    """

    def __init__(self, actions: dict[str, Callable[[ModuleType], None]]) -> None:
        self._actions = actions

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as the other finders do, and let its loader call the function."""
        action = self._actions.pop(name, None)
        spec = None if action is None else importlib.util.find_spec(name)
        if action is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_act(module: ModuleType) -> None:
            load(module)
            action(module)

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec
