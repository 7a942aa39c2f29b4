"""An experiment as a Prefect flow run with a coordinator task, called like a function."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar
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

from prefect_tune.orchestration.control.crashed_runs import end_leftovers
from prefect_tune.orchestration.control.current_flow import this_flow
from prefect_tune.orchestration.control.sigterm import announced
from prefect_tune.orchestration.control.suspension import end_subflow
from prefect_tune.orchestration.logs import run_log
from prefect_tune.orchestration.record.conclusion import (
    Conclusion,
    Ending,
    ExperimentFlow,
    FlowOutcome,
)
from prefect_tune.orchestration.record.flush import (
    abandon_sending,
    await_final_states,
    flush_events,
)
from prefect_tune.orchestration.record.launcher import PrefectLauncher
from prefect_tune.orchestration.record.outage import AWAY, LateEnding, await_api
from prefect_tune.orchestration.record.sanitize import LONGEST_MESSAGE, showable
from prefect_tune.orchestration.record.tag_limits import tag_limits, tags_of_caller, without_tags
from prefect_tune.orchestration.record.task_run_logs import COORDINATOR, silence_our_tasks
from prefect_tune.orchestration.record.task_runner import BodyTaskRunner
from prefect_tune.orchestration.server.api import (
    PrefectApi,
    api_problem,
    start_server_early,
    unavailable,
)
from prefect_tune.text import in_words

T = TypeVar("T")
_logger = logging.getLogger("prefect_tune")

#: What Prefect, and the form of its UI, name a flow run that nobody has named.
_MADE_UP = re.compile(r"[a-z]+-[a-z]+|[A-Z][a-z]+-[A-Z][A-Za-z' -]+")
#: Seconds a flow run waits for its record to arrive at an embedded server, which ends with us ...
_FLUSH_EMBEDDED = 30.0
#: ... and at a lasting one, which goes on recording after we have left.
_FLUSH_LASTING = 5.0
#: Events that waited while the server was away are sent soon after, or are lost; ends that they
#: told of are then recorded directly.
_FLUSH_AFTER_OUTAGE = 10.0
#: Seconds for which a lasting server that is away is waited for at the end of a sweep ...
_BACK = 60.0
#: ... and by a process that has been told to end.
_BACK_IN_HASTE = 3.0


def run_in_flow(
    body: Callable[[PrefectLauncher], T],
    flow: ExperimentFlow,
    conclude: Callable[[T], Conclusion],
    api: PrefectApi | None = None,
) -> FlowOutcome[T]:
    """Call `body` in the calling thread, inside a coordinator task of a flow run.

    Inside of a flow, sync or async, the flow run is a subflow; with a running event loop, as in a
    notebook, it blocks that loop as any function does. Neither what `body` takes nor what it
    returns or raises passes through Prefect.

    Args:
        body: Runs the experiment with a launcher whose attempts become task runs. Outages of the
            API during its run do not reach it.
        flow: How the experiment appears.
        conclude: Makes the flow run's final state from what `body` returned.
        api: What `start_server_early` returned.

    Raises:
        PrefectUnavailable: If there is no API, before `body` is called.
        Pause: If the flow run was suspended while `body` ran.
        BaseException: What `body` raised, unchanged.
    """
    api = api or start_server_early()
    api.wait_ready(_logger.warning)
    silence_our_tasks()
    run = _Run(body, flow, conclude, embedded=api.embedded)
    with api.in_effect():
        this = this_flow()
        if this is None or this.taken:
            run.as_flow()
        else:
            this.taken = True
            this.final_state = run.in_this_flow()
    return run.outcome()


class _Run(Generic[T]):
    """One call of `run_in_flow`: carries the body in and its outcome out, past Prefect."""

    def __init__(
        self,
        body: Callable[[PrefectLauncher], T],
        flow: ExperimentFlow,
        conclude: Callable[[T], Conclusion],
        embedded: bool,
    ) -> None:
        self._body = body
        self._flow = flow
        self._conclude = conclude
        self._embedded = embedded
        self._flush_seconds = _FLUSH_EMBEDDED if embedded else _FLUSH_LASTING
        self._values: list[T] = []
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
        parameters = dict(self._flow.parameters)

        def experiment(**parameters: Any) -> State[Any]:
            state = self.inside_flow()
            if self._record_lost:
                # Leaves the flow engine without another word to the API.
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
            # What Prefect finds persisted it returns next time, without calling us.
            persist_result=False,
        )
        with self._leave:
            try:
                prefect_flow(**parameters, return_state=True)
            except Abort:
                if not self._record_lost:
                    raise
            except Exception as error:
                if not self._values and self._error is None:
                    # Prefect itself says no more than that it could not reach the API.
                    for problem in (error, error.__cause__):
                        if isinstance(problem, httpx.HTTPStatusError):
                            url = get_current_settings().api.url or ""
                            raise unavailable(url, problem) from problem
                    raise
                # The sweep is over, its results are safe: a record that fails now is a mere pity.
                _logger.warning("Prefect could not record the end of the flow run: %s", error)

    def in_this_flow(self) -> State[Any]:
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
        try:
            with SyncClientContext.get_or_create() as clients:
                clients.client.update_flow_run(flow_run.id, name=name, tags=tags)
        except Exception:
            _logger.debug("The flow run could not be labelled.", exc_info=True)

    def inside_flow(self) -> State[Any]:
        """Run the experiment in the current flow run; gives the state that flow run should end in.

        Never raises an `Exception` of the body: Prefect would pickle and store it.
        """
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            raise RuntimeError("no flow run is active")
        self._flow_run_id = flow_run_id = context.flow_run.id
        self._flow_run_url = url_for(context.flow_run)
        self._label(context.flow_run)
        if context.flow_run.run_count > 1:
            end_leftovers(flow_run_id)
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
            self._settle(flow_run_id)
        return self._final_state(flow_run_id)

    def outcome(self) -> FlowOutcome[T]:
        """What came of it, or the error."""
        if self._error is not None:
            raise self._error
        if not self._values:
            raise RuntimeError("the flow run ended before the experiment began")
        return FlowOutcome(self._values[0], str(self._flow_run_id), self._flow_run_url)

    def _coordinate(self) -> State[Any]:
        context = TaskRunContext.get()
        self._coordinator_id = None if context is None else context.task_run.id
        with BodyTaskRunner(self._flow.ship or _no_bodies) as runner:
            flow = self._flow
            launcher = PrefectLauncher(
                flow.executor, runner, flow.max_task_runs, flow.is_interrupted, flow.logs
            )
            try:
                value = self._body(launcher)
                self._conclusion = self._conclude(value)
                self._values.append(value)
            except Exception as error:
                self._error = error
                said = f"{type(error).__name__}: {in_words(error)}"
                self._conclusion = Conclusion(Ending.FAILED, said)
            finally:
                self._launcher = launcher
        return self._final_state(None)

    def _final_state(self, flow_run_id: UUID | None) -> State[Any]:
        """A new state, for the flow run with this id or else for the coordinator."""
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
                cancelled = announced() == "cancel"
                if cancelled or (flow_run_id is not None and _is_cancelling(flow_run_id)):
                    return Cancelled(message=message)
                return Crashed(name="Interrupted", message=message)

    def _settle(self, flow_run_id: UUID) -> None:
        """Have the record arrive before the flow run says that it is over."""
        problem = api_problem()
        was_away = problem is not None
        if problem is not None and not self._embedded:
            in_haste = announced() is not None or self._is_interrupted
            problem = await_api(problem, _BACK_IN_HASTE if in_haste else _BACK)
        if problem is not None:
            self._give_up_recording(problem)
            return
        if _is_deleted(flow_run_id):
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
                end_leftovers(flow_run_id, AWAY, self._ends())
            if missing and self._embedded:
                _logger.warning("Prefect has not yet recorded the end of %d task runs.", missing)
        except Exception:
            _logger.warning("Prefect does not answer; its record may be incomplete.", exc_info=True)

    def _ends(self) -> dict[UUID, State[Any]]:
        """How the task runs of this flow run have ended, by their ids."""
        ends = {} if self._launcher is None else dict(self._launcher.ends)
        if self._coordinator_id is not None:
            ends[self._coordinator_id] = self._final_state(None)
        return ends

    @property
    def _is_interrupted(self) -> bool:
        conclusion = self._conclusion
        return conclusion is None or conclusion.ending is Ending.INTERRUPTED

    def _give_up_recording(self, problem: Exception) -> None:
        """Keep the end of a sweep from waiting minutes for an API that has gone."""
        self._record_lost = True
        if self._flow_run_id is not None and not self._embedded:
            LateEnding(self._flow_run_id, self._final_state(None), self._ends())
        dropped = abandon_sending()
        _logger.warning(
            "The Prefect API has gone away (%s); %d events are dropped, and the flow run is left "
            "as it was recorded last.",
            problem,
            dropped,
        )
        # Until `_leave`: in effect for what the flow engine does after our function as well.
        self._leave.enter_context(
            temporary_settings(
                {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_LOGGING_TO_API_ENABLED: False}
            )
        )


def _is_deleted(flow_run_id: UUID) -> bool:
    try:
        with SyncClientContext.get_or_create() as context:
            context.client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return True
    except Exception:
        _logger.debug("The flow run could not be read.", exc_info=True)
    return False


def _is_cancelling(flow_run_id: UUID) -> bool:
    """True if somebody has asked to cancel the flow run, which then signals its process."""
    try:
        with SyncClientContext.get_or_create() as context:
            state = context.client.read_flow_run(flow_run_id).state
    except Exception:
        _logger.debug("The state of the flow run could not be read.", exc_info=True)
        return False
    return state is not None and state.type is StateType.CANCELLING


def _no_bodies(*_: Any) -> Any:
    raise RuntimeError("this flow has no cluster for the bodies of other tasks")
