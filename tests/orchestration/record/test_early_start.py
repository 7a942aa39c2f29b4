"""Trials that start before there is a server, recorded by a real one that comes later."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext

from prefect_tune.atomic_write import write_atomic
from prefect_tune.coordinator.commands import Kill, Launch
from prefect_tune.error import PrefectUnavailable
from prefect_tune.orchestration.record import early_start
from prefect_tune.orchestration.record.conclusion import Conclusion, Ending, FlowRunDescription
from prefect_tune.orchestration.record.early_start import EarlyStart
from prefect_tune.orchestration.record.flow import run_in_flow
from prefect_tune.orchestration.record.trial_context import TrialContext
from tests.orchestration.fakes import FakeExecutor, launch_of


class Surrounded(FakeExecutor):
    """Keeps what is set up around trials."""

    def __init__(self) -> None:
        super().__init__()
        self.around: dict[str, TrialContext] = {}

    def launch(self, launch: Launch, place: Any) -> Any:
        self.around[launch.trial_id] = place.surroundings
        return super().launch(launch, place)


@pytest.fixture
def executor() -> Iterator[Surrounded]:
    executor = Surrounded()
    yield executor
    executor.close()


class Sweep:
    """Stands for an experiment: launches four trials before there is a server, and one after.

    Args:
        executor: Where to.
        error: What it ends by.
    """

    setup = SimpleNamespace(
        trainable=SimpleNamespace(name="early"),
        settings=SimpleNamespace(max_task_runs=2000),
        keeps_output_in_prefect=False,
    )
    trials: Sequence[Any] = ()
    output = SimpleNamespace(listen=lambda _: None)

    def __init__(self, executor: FakeExecutor, error: Exception | None = None) -> None:
        self.executor = executor
        self.launched = threading.Event()
        self.recorded = threading.Event()
        self.listened = 0
        self.flow_run: Any = None
        self._error = error

    def run(self, launcher: Any, listeners: Sequence[Any]) -> None:
        for number in range(4):
            launcher.launch(*launch_of(number))
        assert len(self.executor.launched) == 4
        launcher.note_end(Kill("1", 1, "node", "others were better"))
        self.launched.set()
        self.recorded.wait()
        while not self.listened:
            for listener in listeners:
                listener(None)
        self.flow_run = FlowRunContext.get()  # as callbacks find it
        launcher.launch(*launch_of(6))
        launcher.close(30)
        if self._error is not None:
            raise self._error


def flow_of(executor: FakeExecutor) -> FlowRunDescription:
    return FlowRunDescription("tune-early", "early", {}, executor)


@dataclass
class Server:
    """An embedded server."""

    alive: bool = True
    api_url: str = "http://127.0.0.1:1/api"


def run(sweep: Sweep, error: Exception | None = None, server: Server | None = None) -> Any:
    flow = flow_of(sweep.executor)
    server = server or Server()

    def listen(_: Any) -> None:
        sweep.listened += 1

    never = threading.Event()

    def record(early: EarlyStart) -> Any:
        def body(launcher: Any) -> Conclusion:
            sweep.recorded.set()
            early.follow(launcher, [listen])
            return Conclusion(Ending.COMPLETED, "done")

        sweep.launched.wait()  # as a server that boots for so long
        if error is not None:
            sweep.recorded.set()
            sweep.listened = 1
            if not server.alive:
                never.wait()
            raise error
        return run_in_flow(body, flow)

    return EarlyStart(cast(Any, sweep), cast(Any, server)).run(record)


@pytest.mark.usefixtures("prefect_api")
def test_what_was_launched_before_the_flow_run_is_recorded_in_it(executor: Surrounded) -> None:
    assert FlowRunContext.get() is None
    outcome = run(sweep := Sweep(executor))
    assert str(sweep.flow_run.flow_run.id) == outcome.flow_run_id
    assert FlowRunContext.get() is None
    with get_client(sync_client=True) as client:
        which = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(outcome.flow_run_id)]))
        runs = {run.name: run for run in client.read_task_runs(flow_run_filter=which)}
    assert set(runs) == {"coordinator", *(f"train_{number:05d}" for number in (0, 1, 2, 3, 6))}
    assert all(run.state is not None and run.state.is_final() for run in runs.values())
    assert "others were better" in str(runs["train_00001"].state.message)  # type: ignore[union-attr]
    for number, around in executor.around.items():
        known = json.loads(around.task_run)
        assert known["id"] == str(runs[f"train_{int(number):05d}"].id)


@pytest.mark.usefixtures("prefect_api")
def test_what_ends_the_sweep_ends_its_flow_run(executor: Surrounded) -> None:
    error = ValueError("disk full")
    with pytest.raises(ValueError, match="disk full") as caught:
        run(Sweep(executor, error))
    assert caught.value is error


def test_a_sweep_goes_on_without_a_server(
    executor: Surrounded, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(Sweep(executor), PrefectUnavailable("it did not start")) is None
    assert len(executor.launched) == 5
    assert "not recorded in Prefect: it did not start" in caplog.text


def test_a_sweep_ends_soon_after_its_server_was_killed(
    executor: Surrounded, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_start, "_SERVER_DEAD_S", 0.0)
    gone = PrefectUnavailable("its client goes on trying")
    assert run(Sweep(executor), gone, Server(alive=False)) is None
    assert "not recorded in Prefect: its embedded server has ended" in caplog.text


def test_trials_start_before_prefect_is_imported() -> None:
    code = (
        "import sys; import prefect_tune.runner; "
        "import prefect_tune.execution.driver.dask_executor; "
        "import prefect_tune.orchestration.record.early_start; "
        "sys.exit('prefect' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_trial_waits_for_its_flow_run(tmp_path: Path) -> None:
    path = tmp_path / "flow_run.json"
    early = TrialContext("tune-early", "", "", "", str(path))
    writer = threading.Thread(target=write_atomic, args=(path, b'{"id": "7"}'))
    writer.start()
    assert early.awaited().flow_run == '{"id": "7"}'
    writer.join()
    # Where there is no such directory, nothing will come.
    elsewhere = TrialContext("tune-early", "", "", "", str(tmp_path / "none" / "flow_run.json"))
    assert json.loads(elsewhere.awaited().flow_run)["name"] == "tune-early"
