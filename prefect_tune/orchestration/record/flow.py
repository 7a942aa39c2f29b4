"""Runs an experiment as a Prefect flow run with a coordinator task."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext, SyncClientContext, TaskRunContext
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Cancelled, Completed, Crashed, Failed
from prefect.utilities.urls import url_for

from prefect_tune.orchestration.control.crashed_runs import end_unfinished_task_runs
from prefect_tune.orchestration.control.current_flow import (
    experiment_flow_run,
    tag_limits,
    tags_of_caller,
    without_tags,
)
from prefect_tune.orchestration.control.flow_watch import end_subflow
from prefect_tune.orchestration.logs import api_client, run_log
from prefect_tune.orchestration.prefect_internals import announced_intent, cancel_senders
from prefect_tune.orchestration.record.api_waits import (
    AWAY,
    FinalStateSetter,
    await_api,
    await_final_states,
    flush_events,
)
from prefect_tune.orchestration.record.conclusion import (
    Conclusion,
    Ending,
    FlowOutcome,
    FlowRunDescription,
    conclusion_of,
)
from prefect_tune.orchestration.record.launcher import PrefectLauncher
from prefect_tune.orchestration.record.task_run_logs import COORDINATOR, silence_our_tasks
from prefect_tune.orchestration.record.task_runner import BodyTaskRunner
from prefect_tune.orchestration.record.texts import LONGEST_MESSAGE, showable
from prefect_tune.orchestration.server.api import (
    PrefectApi,
    api_problem,
    start_server_early,
    unavailable,
)

_logger = logging.getLogger("prefect_tune")

#: Names that Prefect and the form of its UI make up for flow runs.
_MADE_UP = re.compile(r"[a-z]+-[a-z]+|[A-Z][a-z]+-[A-Z][A-Za-z' -]+")
#: Seconds to wait for an embedded server to record everything; it ends with this process.
_FLUSH_EMBEDDED = 30.0
#: Seconds to wait for another server, which continues to record after this process has ended.
_FLUSH_LASTING = 5.0
#: Seconds to wait for the events of an outage. They are sent soon after it, or are lost; the ends
#: of task runs that they tell of are then recorded directly.
_FLUSH_AFTER_OUTAGE = 10.0
#: Seconds to wait at the end of a sweep for a server that does not answer.
_BACK = 60.0
#: The same in a process that has been told to end.
_BACK_IN_HASTE = 3.0


def run_in_flow(
    body: Callable[[PrefectLauncher], Conclusion],
    flow: FlowRunDescription,
    api: PrefectApi | None = None,
) -> FlowOutcome:
    """Call `body` in the calling thread, inside a coordinator task of a flow run.

    Inside a flow, sync or async, the flow run is a subflow. A running event loop, as in a notebook,
    is blocked meanwhile. Arguments and errors of `body` do not pass through Prefect.

    Args:
        body: Runs the experiment with a launcher whose attempts become task runs, and returns what
            becomes the flow run's final state. Outages of the API during its run do not reach it.
        flow: Names, tags and parameters of the flow run.
        api: Result of `start_server_early`, if it has been called.

    Raises:
        PrefectUnavailable: If there is no API, before `body` is called.
        Pause: If the flow run was suspended while `body` ran.
        BaseException: The error of `body`, unchanged.
    """
    api = api or start_server_early()
    api.wait_ready(_logger.warning)
    silence_our_tasks()
    run = _Run(body, flow, embedded=api.embedded)
    with api.in_effect():
        current = experiment_flow_run()
        if current is None or current.taken:
            run.as_flow()
        else:
            current.taken = True
            current.final_state = run.in_current_flow()
    return run.outcome()


class _Run:
    """One call of `run_in_flow`; holds the body and its outcome, which Prefect must not see."""

    def __init__(
        self,
        body: Callable[[PrefectLauncher], Conclusion],
        flow: FlowRunDescription,
        embedded: bool,
    ) -> None:
        self._body = body
        self._flow = flow
        self._embedded = embedded
        self._flush_seconds = _FLUSH_EMBEDDED if embedded else _FLUSH_LASTING
        self._error: Exception | None = None
        self._conclusion: Conclusion | None = None
        self._flow_run_id: UUID | None = None
        self._launcher: PrefectLauncher | None = None
        self._coordinator_id: UUID | None = None
        self._record_lost = False
        self._leave = contextlib.ExitStack()
        self._flow_run_url: str | None = None
        self._held_tags = tags_of_caller()

    def as_flow(self) -> None:
        """Make a flow run and run the experiment in it."""
        parameters = self._flow.parameters

        def experiment(**parameters: Any) -> State[Any]:
            state = self.inside_flow()
            if self._record_lost:
                # Leaves the flow engine without another request to the API.
                raise Abort("the flow run can no longer be recorded")
            return state

        # Parameters by name: Prefect would show those of ** as one nested dictionary.
        experiment.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in parameters]
        )
        prefect_flow = Flow(
            experiment,
            name=self._flow.name,
            flow_run_name=self._flow.run_name.replace("{", "(").replace("}", ")"),
            description="A hyper-parameter sweep.",
            task_runner=BodyTaskRunner(self._flow.ship or _no_bodies),
            validate_parameters=False,
            log_prints=False,
            # Prefect would return a persisted result the next time, without a call.
            persist_result=False,
        )
        with self._leave:
            try:
                prefect_flow(**parameters, return_state=True)
            except Abort:
                if not self._record_lost:
                    raise
            except Exception as error:
                if self._conclusion is None:
                    # Prefect itself says no more than that it could not reach the API.
                    for problem in (error, error.__cause__):
                        if isinstance(problem, httpx.HTTPStatusError):
                            url = get_current_settings().api.url or ""
                            raise unavailable(url, problem) from problem
                    raise
                # The sweep has ended and its results are stored, so only the record is incomplete.
                _logger.warning("Prefect could not record the end of the flow run: %s", error)

    def in_current_flow(self) -> State[Any]:
        """Run the experiment in the current flow run."""
        with self._leave:
            return self.inside_flow()

    def _label(self, flow_run: FlowRun) -> None:
        """Give the flow run its tags, and the experiment's name unless a person has named it."""
        made_up = _MADE_UP.fullmatch(flow_run.name) is not None
        name = self._flow.run_name if made_up else flow_run.name
        tags = sorted({*flow_run.tags, *self._flow.tags})
        if (name, tags) == (flow_run.name, sorted(flow_run.tags)):
            return
        with api_client("The flow run could not be labelled.") as client:
            client.update_flow_run(flow_run.id, name=name, tags=tags)

    def inside_flow(self) -> State[Any]:
        """Run the experiment in the current flow run; return the final state for that flow run.

        It raises no `Exception` of the body, which Prefect would pickle and store.
        """
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            raise RuntimeError("no flow run is active")
        self._flow_run_id = flow_run_id = context.flow_run.id
        self._flow_run_url = url_for(context.flow_run)
        self._label(context.flow_run)
        if context.flow_run.run_count > 1:
            end_unfinished_task_runs(flow_run_id)
        coordinator = Task(
            self._coordinate,
            name=COORDINATOR,
            task_run_name=COORDINATOR,
            persist_result=False,
            cache_policy=NO_CACHE,
        )
        try:
            with without_tags(self._held_tags):
                for known in tag_limits():
                    if known.taken >= known.limit:
                        run_log().info(
                            "The sweep waits: all %d slots of the tag %r are taken.",
                            known.limit,
                            known.tag,
                        )
                coordinator(return_state=True)
        except Pause:
            if self._conclusion is not None:
                end_subflow(self._conclusion.message)
            raise
        finally:
            self._await_record(flow_run_id)
        return self._final_state(flow_run_id)

    def outcome(self) -> FlowOutcome:
        """Return the outcome of the body, or raise its error."""
        if self._error is not None:
            raise self._error
        if self._conclusion is None:
            raise RuntimeError("the flow run ended before the experiment began")
        return FlowOutcome(str(self._flow_run_id), self._flow_run_url)

    def _coordinate(self) -> State[Any]:
        context = TaskRunContext.get()
        self._coordinator_id = None if context is None else context.task_run.id
        flow = self._flow
        with BodyTaskRunner(flow.ship or _no_bodies) as runner:
            self._launcher = launcher = PrefectLauncher(
                flow.executor, runner, flow.max_task_runs, flow.is_interrupted, flow.logs
            )
            try:
                self._conclusion = self._body(launcher)
            except Exception as error:
                self._error = error
                self._conclusion = conclusion_of(error)
        return self._final_state(None)

    def _final_state(self, flow_run_id: UUID | None) -> State[Any]:
        """Make a final state, for the flow run with this id or, if None, for the coordinator."""
        conclusion = self._conclusion
        if conclusion is None:
            return Crashed(message="the coordinator did not run to its end")
        message = showable(conclusion.message, LONGEST_MESSAGE)
        match conclusion.ending:
            case Ending.COMPLETED:
                return Completed(message=message, data=conclusion.data)
            case Ending.FAILED:
                return Failed(message=message)
            case Ending.INTERRUPTED:
                cancelled = announced_intent() == "cancel"
                if flow_run_id is not None and not cancelled:
                    # The UI cancels a flow run by its state, and a signal to its process.
                    cancelled = _read_state(flow_run_id) is StateType.CANCELLING
                if cancelled:
                    return Cancelled(message=message)
                return Crashed(name="Interrupted", message=message)

    def _await_record(self, flow_run_id: UUID) -> None:
        """Wait until the server has recorded the task runs, before the flow run ends."""
        problem = api_problem()
        was_away = problem is not None
        if problem is not None and not self._embedded:
            in_haste = announced_intent() is not None or self._is_interrupted
            problem = await_api(problem, _BACK_IN_HASTE if in_haste else _BACK)
        if problem is not None:
            self._give_up_recording(problem)
            return
        if _read_state(flow_run_id) == "deleted":
            self._record_lost = True
            _logger.warning("The flow run has been deleted while it ran: its end is not recorded.")
            return
        try:
            sent = flush_events(_FLUSH_AFTER_OUTAGE if was_away else self._flush_seconds)
            if not sent:
                _logger.warning("Not all Prefect events could be sent; some trials may be missing.")
                if not was_away:
                    return
            recorded = 0 if self._launcher is None else self._launcher.recorded
            with SyncClientContext.get_or_create() as context:
                missing = await_final_states(
                    context.client, flow_run_id, recorded + 1, self._flush_seconds
                )
            if missing and was_away:
                end_unfinished_task_runs(flow_run_id, AWAY, self._ends())
            if missing and self._embedded:
                _logger.warning("Prefect has not yet recorded the end of %d task runs.", missing)
        except Exception:
            _logger.warning("Prefect does not answer; its record may be incomplete.", exc_info=True)

    def _ends(self) -> dict[UUID, State[Any]]:
        """Return the final states of the flow run's task runs by id."""
        ends = {} if self._launcher is None else dict(self._launcher.ends)
        if self._coordinator_id is not None:
            ends[self._coordinator_id] = self._final_state(None)
        return ends

    @property
    def _is_interrupted(self) -> bool:
        conclusion = self._conclusion
        return conclusion is None or conclusion.ending is Ending.INTERRUPTED

    def _give_up_recording(self, problem: Exception) -> None:
        """Keep the end of the sweep from waiting minutes for an API that does not answer."""
        self._record_lost = True
        if self._flow_run_id is not None and not self._embedded:
            FinalStateSetter(self._flow_run_id, self._final_state(None), self._ends())
        dropped = cancel_senders()
        _logger.warning(
            "The Prefect API has gone away (%s); %d events are dropped, and the flow run is left "
            "as it was recorded last.",
            problem,
            dropped,
        )
        # In effect until `_leave` is closed, so also for the flow engine after this function.
        self._leave.enter_context(
            temporary_settings(
                {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_LOGGING_TO_API_ENABLED: False}
            )
        )


def _read_state(flow_run_id: UUID) -> StateType | Literal["deleted"] | None:
    """Read the type of a flow run's state; None if it cannot be read."""
    with api_client("The flow run could not be read.") as client:
        try:
            return client.read_flow_run(flow_run_id).state_type
        except ObjectNotFound:
            return "deleted"
    return None


def _no_bodies(*_: Any) -> Any:
    raise RuntimeError("this flow has no cluster for the bodies of other tasks")
