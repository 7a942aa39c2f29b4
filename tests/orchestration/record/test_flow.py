"""Experiments as flow runs, against a real Prefect server and without a cluster."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client, tags, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun

from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.orchestration.control.current_flow import current_flow_is_experiment
from prefect_tune.orchestration.record.artifacts import ArtifactReporter, Snapshot
from prefect_tune.orchestration.record.conclusion import (
    Conclusion,
    Ending,
    FlowOutcome,
    FlowRunDescription,
)
from prefect_tune.orchestration.record.flow import run_in_flow
from prefect_tune.orchestration.record.launcher import PrefectLauncher
from prefect_tune.orchestration.record.task_runner import BodyTaskRunner
from tests.orchestration.fakes import FakeExecutor, launch_of

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def executor() -> Iterator[FakeExecutor]:
    executor = FakeExecutor()
    yield executor
    executor.close()


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def experiment(executor: FakeExecutor, **changes: Any) -> FlowRunDescription:
    parts: dict[str, Any] = {
        "name": "tune-fake",
        "run_name": "fake_2026",
        "parameters": {"metric": "acc", "num_samples": 3},
        "executor": executor,
    }
    return FlowRunDescription(**{**parts, **changes})


GOOD = Conclusion(Ending.COMPLETED, "best acc=0.9", {"best": 0.9})


def sweep(
    trials: int = 3, conclusion: Conclusion = GOOD
) -> Callable[[AttemptLauncher], Conclusion]:
    def body(launcher: AttemptLauncher) -> Conclusion:
        for number in range(trials):
            launcher.launch(*launch_of(number))
        launcher.close(30)
        return conclusion

    return body


def task_runs(client: SyncPrefectClient, flow_run_id: str) -> list[TaskRun]:
    which = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    found: list[TaskRun] = []
    while True:
        page = client.read_task_runs(flow_run_filter=which, limit=200, offset=len(found))
        found += page
        if len(page) < 200:
            return found


def flow_run(client: SyncPrefectClient, outcome: FlowOutcome) -> FlowRun:
    return client.read_flow_run(UUID(outcome.flow_run_id))


def test_every_attempt_has_its_final_state_when_the_flow_returns(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    outcome = run_in_flow(sweep(60), experiment(executor))
    recorded = task_runs(client, outcome.flow_run_id)
    trials = [run for run in recorded if run.name != "coordinator"]
    assert collections.Counter(run.state_name for run in trials) == {
        "Completed": 10,
        "Stopped": 10,
        "Paused": 10,
        "Failed": 10,
        "Crashed": 10,
        "NotStarted": 10,
    }
    assert {run.name for run in trials} == {f"train_{number:05d}" for number in range(60)}
    (coordinator,) = (run for run in recorded if run.name == "coordinator")
    parents = {str(run.task_inputs["__parents__"][0].id) for run in trials}
    assert parents == {str(coordinator.id)}
    assert not any(run.tags for run in recorded)


@pytest.fixture
def limited_tag(client: SyncPrefectClient) -> Iterator[str]:
    """A tag of which one task may run at a time."""
    client.create_concurrency_limit("one-at-a-time", 1)
    yield "one-at-a-time"
    client.delete_concurrency_limit_by_tag("one-at-a-time")


def slots_taken(client: SyncPrefectClient, tag: str) -> int:
    return client.read_global_concurrency_limit_by_name(f"tag:{tag}").active_slots


@pytest.mark.parametrize("in_task", [False, True])
def test_the_limit_of_a_tag_kills_no_task_run(
    executor: FakeExecutor, client: SyncPrefectClient, limited_tag: str, in_task: bool
) -> None:
    """The sweep has the slot, or the task around it; its trials would wait for it for ever."""
    seen: list[int] = []

    def body(launcher: AttemptLauncher) -> Conclusion:
        seen.append(slots_taken(client, limited_tag))
        return sweep(5)(launcher)

    def tuned() -> FlowOutcome:
        return run_in_flow(body, experiment(executor))

    def nightly() -> FlowOutcome:
        with tags(limited_tag):
            return task(tuned)() if in_task else tuned()

    outcome = flow(nightly)()
    states = [run.state_name for run in task_runs(client, outcome.flow_run_id)]
    wanted = ["Completed", "Stopped", "Paused", "Failed", "Crashed", "Completed"]
    assert sorted(states) == sorted(wanted)
    assert seen == [1]
    assert slots_taken(client, limited_tag) == 0


def test_the_flow_run_tells_about_the_experiment(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    tags = ("experiment:fake_2026", "trainable:fake")
    outcome = run_in_flow(sweep(), experiment(executor, tags=tags))
    run = flow_run(client, outcome)
    assert set(run.tags) == set(tags)
    assert not any(task_run.tags for task_run in task_runs(client, outcome.flow_run_id))
    assert run.name == "fake_2026"
    assert run.parameters == {"metric": "acc", "num_samples": 3}
    assert (run.state_name, run.state.message) == ("Completed", "best acc=0.9")
    assert outcome.flow_run_url is not None
    assert outcome.flow_run_id in outcome.flow_run_url


def test_an_error_reaches_the_caller_as_it_is(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    class Unpicklable(Exception):
        def __reduce__(self) -> Any:
            raise TypeError("not me")

    error = Unpicklable("no metric")
    seen: list[str] = []

    def body(launcher: AttemptLauncher) -> Conclusion:
        from prefect.runtime import flow_run as current

        seen.append(current.id)
        raise error

    with pytest.raises(Unpicklable) as caught:
        run_in_flow(body, experiment(executor))
    assert caught.value is error
    run = client.read_flow_run(UUID(seen[0]))
    assert run.state_name == "Failed"
    assert run.state.message == "Unpicklable: no metric"


def test_an_interrupted_experiment_crashes_its_flow_run(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    interrupted = Conclusion(Ending.INTERRUPTED, "SIGINT received")
    outcome = run_in_flow(sweep(conclusion=interrupted), experiment(executor))
    run = flow_run(client, outcome)
    assert (run.state_type.value, run.state_name) == ("CRASHED", "Interrupted")
    assert run.state.message == "SIGINT received"


def test_an_error_that_has_no_words_reaches_the_caller_too(executor: FakeExecutor) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def body(launcher: AttemptLauncher) -> Conclusion:
        raise Mute

    with pytest.raises(Mute):
        run_in_flow(body, experiment(executor))


def test_a_flow_run_that_somebody_deletes_ends_quietly(
    executor: FakeExecutor, client: SyncPrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    deleted: list[str] = []

    def body(launcher: AttemptLauncher) -> Conclusion:
        from prefect.runtime import flow_run as current

        deleted.append(current.id)
        client.delete_flow_run(UUID(current.id))
        return GOOD

    outcome = run_in_flow(body, experiment(executor))

    assert [outcome.flow_run_id] == deleted
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("has been deleted" in message for message in told)
    assert not any("Encountered exception" in message for message in told)


def test_keyboard_interrupts_pass_through_and_clean_up(executor: FakeExecutor) -> None:
    cleaned: list[bool] = []

    def body(launcher: AttemptLauncher) -> Conclusion:
        try:
            raise KeyboardInterrupt
        finally:
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_in_flow(body, experiment(executor))
    assert cleaned == [True]


def test_inside_a_sync_flow_it_is_a_subflow(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    @flow
    def pipeline() -> FlowOutcome:
        return run_in_flow(sweep(), experiment(executor))

    outcome = pipeline()
    assert flow_run(client, outcome).parent_task_run_id is not None
    assert len(task_runs(client, outcome.flow_run_id)) == 4


def test_inside_an_async_flow_it_is_a_subflow(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    @flow
    async def pipeline() -> FlowOutcome:
        return run_in_flow(sweep(), experiment(executor))

    outcome = asyncio.run(pipeline())
    assert flow_run(client, outcome).parent_task_run_id is not None
    assert len(task_runs(client, outcome.flow_run_id)) == 4


def test_with_a_running_event_loop_as_in_a_notebook(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    async def cell() -> FlowOutcome:
        return run_in_flow(sweep(), experiment(executor))

    assert flow_run(client, asyncio.run(cell())).state_name == "Completed"


def test_from_another_thread(executor: FakeExecutor, client: SyncPrefectClient) -> None:
    outcomes: list[FlowOutcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(run_in_flow(sweep(), experiment(executor)))
    )
    thread.start()
    thread.join()
    assert flow_run(client, outcomes[0]).state_name == "Completed"


def test_a_flow_can_be_the_experiment_itself(
    executor: FakeExecutor, client: SyncPrefectClient
) -> None:
    @flow
    def own() -> Any:
        with current_flow_is_experiment() as this:
            outcomes.append(run_in_flow(sweep(), experiment(executor)))
        return this.final_state

    outcomes: list[FlowOutcome] = []
    state = own(return_state=True)
    assert state.message == "best acc=0.9"
    assert state.result() == {"best": 0.9}
    run = flow_run(client, outcomes[0])
    assert run.parent_task_run_id is None
    assert run.name == "fake_2026"
    own.with_options(flow_run_name="typed in the form")(return_state=True)
    assert flow_run(client, outcomes[1]).name == "typed in the form"
    # The form of Prefect's UI makes names up as well.
    own.with_options(flow_run_name="Licensed-Zebra Finch")(return_state=True)
    assert flow_run(client, outcomes[2]).name == "fake_2026"
    assert str(state.state_details.flow_run_id) == outcomes[0].flow_run_id


def test_beyond_a_number_of_task_runs_trials_only_run(
    executor: FakeExecutor, client: SyncPrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prefect_tune")
    outcome = run_in_flow(sweep(10), experiment(executor, max_task_runs=4))
    assert len(executor.launched) == 10
    assert len(task_runs(client, outcome.flow_run_id)) == 4 + 1
    assert sum("4 task runs are shown" in line for line in caplog.messages) == 1


def test_attempts_start_without_waiting_for_prefect(executor: FakeExecutor) -> None:
    released = threading.Event()

    @task
    async def block_all_engines() -> None:
        released.wait()

    @flow
    def own() -> list[str]:
        with BodyTaskRunner(executor.submit_body) as runner:
            runner.submit_here(block_all_engines, {}, contextvars.copy_context())
            launcher = PrefectLauncher(executor, runner, max_task_runs=100)
            for number in range(20):
                launcher.launch(*launch_of(number))
            launched = list(executor.launched)
            released.set()
            launcher.close(30)
        return launched

    assert len(own()) == 20


def test_artifacts_follow_the_experiment(executor: FakeExecutor, client: SyncPrefectClient) -> None:
    def body(launcher: AttemptLauncher) -> Conclusion:
        rows = [{"trial": "a", "acc": float("nan")}, {"trial": "b", "acc": 0.1234567891}]
        with ArtifactReporter("My_sweep", interval=60) as artifacts:
            artifacts.update(Snapshot(1, 4))
            artifacts.conclude(Snapshot(2, 4), "# begun")
        with ArtifactReporter("My_sweep", interval=60) as artifacts:  # as in another execution
            final = Snapshot(4, 4, {"TERMINATED": 4}, rows)
            pages = {task_run_id: "the trial"}
            artifacts.conclude(final, "# done", pages, lambda: "![curves](data:)")
        return GOOD

    task_run_id = uuid4()
    outcome = run_in_flow(body, experiment(executor))
    which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(outcome.flow_run_id)]))
    artifacts = client.read_artifacts(artifact_filter=which)
    assert len(artifacts) == 3
    found = {str(a.key).removeprefix("my-sweep-"): a for a in artifacts}
    assert set(found) == {"trials-done", "leaderboard", "summary"}
    assert found["trials-done"].data == 100.0
    assert found["trials-done"].description == "4 of 4 trials done (4 TERMINATED)"
    assert json.loads(found["leaderboard"].data) == [
        {"trial": "a", "acc": "nan"},
        {"trial": "b", "acc": 0.123457},
    ]
    assert found["summary"].data == "# done\n\n![curves](data:)"
    which = ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=[task_run_id]))
    (page,) = client.read_artifacts(artifact_filter=which)
    assert (page.key, page.data) == (None, "the trial")
