"""What a flow run remembers of its sweeps, without a flow run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import Abort

from prefect_tune.engine.memory import BegunSweep
from prefect_tune.error import ExperimentLocked
from prefect_tune.filesystem.location import Location
from prefect_tune.orchestration import sweep_memory
from prefect_tune.orchestration.flow_identity import FlowIdentity
from prefect_tune.orchestration.sweep_memory import FlowRunMemory, flow_run_memory

_numbers = itertools.count()


@pytest.fixture
def flow_run_id() -> str:
    """Of a flow run that no other test has."""
    return f"run-{next(_numbers)}"


class Execution:
    """One execution of a flow run, in a process or not."""

    def __init__(self, storage: Path, flow_run_id: str, count: int, **identity: Any) -> None:
        parts = {"root_id": flow_run_id, "root_run_count": count, **identity}
        self._flow = FlowIdentity(flow_run_id, count, **parts)
        self._storage = Location(str(storage))

    def sweep(
        self, trainable: str = "train", name: str | None = None
    ) -> tuple[FlowRunMemory, BegunSweep | None]:
        memory = FlowRunMemory(self._flow, patience_s=0)
        return memory, memory.recall(self._storage, trainable, name)


def test_a_new_sweep_has_begun_nothing(tmp_path: Path, flow_run_id: str) -> None:
    _, begun = Execution(tmp_path, flow_run_id, 1).sweep()
    assert begun is None
    assert list(tmp_path.iterdir()) == []


def test_each_of_several_equal_sweeps_finds_its_own(tmp_path: Path, flow_run_id: str) -> None:
    first = Execution(tmp_path, flow_run_id, 1)
    for made_up in ("train_a", "train_b"):
        memory, _ = first.sweep()
        memory.remember(made_up)
    again = Execution(tmp_path, flow_run_id, 2)
    assert [again.sweep()[1] for _ in range(3)] == [
        BegunSweep("train_a"),
        BegunSweep("train_b"),
        None,
    ]


def test_other_sweeps_do_not_count(tmp_path: Path, flow_run_id: str) -> None:
    first = Execution(tmp_path, flow_run_id, 1)
    first.sweep("other")[0].remember("other_1")
    first.sweep(name="mine")[0].remember("mine")
    first.sweep()[0].remember("train_1")
    again = Execution(tmp_path, flow_run_id, 2)
    assert again.sweep()[1] == BegunSweep("train_1")
    assert again.sweep(name="mine")[1] == BegunSweep("mine")


def test_flow_runs_do_not_share(tmp_path: Path, flow_run_id: str) -> None:
    Execution(tmp_path, flow_run_id, 1).sweep()[0].remember("train_1")
    assert Execution(tmp_path, f"{flow_run_id}-other", 1).sweep()[1] is None


def test_a_sweep_in_a_subflow_is_found_by_the_way_to_it(tmp_path: Path, flow_run_id: str) -> None:
    way: dict[str, Any] = {"root_id": f"{flow_run_id}-root", "path": ("prepare-0", "tune-1")}
    Execution(tmp_path, flow_run_id, 1, **way).sweep()[0].remember("train_1")
    # When the run above it is retried, the subflow is another run.
    another = Execution(tmp_path, f"{flow_run_id}-new", 1, **way)
    assert another.sweep()[1] == BegunSweep("train_1")
    elsewhere: dict[str, Any] = {**way, "path": ("prepare-0", "tune-2")}
    assert Execution(tmp_path, f"{flow_run_id}-x", 1, **elsewhere).sweep()[1] is None


def test_that_it_failed_is_remembered_until_it_goes_on(tmp_path: Path, flow_run_id: str) -> None:
    memory, _ = Execution(tmp_path, flow_run_id, 1).sweep()
    memory.remember("train_1")
    memory.has_failed()
    memory, begun = Execution(tmp_path, flow_run_id, 2).sweep()
    assert begun == BegunSweep("train_1", failed=True)
    memory.remember("train_1")
    assert Execution(tmp_path, flow_run_id, 3).sweep()[1] == BegunSweep("train_1")


def test_a_damaged_record_is_no_record(
    tmp_path: Path, flow_run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    Execution(tmp_path, flow_run_id, 1).sweep()[0].remember("train_1")
    (record,) = (tmp_path / ".flow_runs" / flow_run_id).iterdir()
    record.write_bytes(b'{"name": "tra')
    assert Execution(tmp_path, flow_run_id, 2).sweep()[1] is None
    assert "cannot be read" in caplog.text


def test_who_did_not_ask_does_not_remember(tmp_path: Path, flow_run_id: str) -> None:
    FlowRunMemory(FlowIdentity(flow_run_id, 1, flow_run_id, 1), patience_s=0).remember("train_1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "mode"),
    [(None, "AUTO"), ("PROMPT", "AUTO"), (True, True), ("ERRORED_ONLY", "ERRORED_ONLY")],
)
def test_the_users_mode_is_kept(asked: Any, mode: Any) -> None:
    assert BegunSweep("train_1").resume_mode(asked) == mode


def test_failed_trials_that_failed_the_call_are_tried_again() -> None:
    failed = BegunSweep("train_1", failed=True)
    assert failed.resume_mode(None) == "AUTO+ERRORED"
    assert failed.resume_mode(None, config=object()) == "AUTO"
    assert failed.resume_mode("AUTO") == "AUTO"


def test_outside_of_flow_runs_there_is_no_memory() -> None:
    assert flow_run_memory(30.0) is None


class Holder:
    """An experiment that another process holds for a while."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts

    def __call__(self) -> str:
        if self.left > 0:
            self.left -= 1
            raise ExperimentLocked("held by process 7")
        return "opened"


@pytest.fixture
def begun(tmp_path: Path, flow_run_id: str, monkeypatch: pytest.MonkeyPatch) -> FlowRunMemory:
    monkeypatch.setattr(sweep_memory, "_POLL_S", 0.0)
    Execution(tmp_path, flow_run_id, 1).sweep()[0].remember("train_1")
    memory = FlowRunMemory(FlowIdentity(flow_run_id, 2, flow_run_id, 2), patience_s=60)
    memory.recall(Location(str(tmp_path)), "train", None)
    return memory


def test_it_waits_for_the_process_before_it_to_end(begun: FlowRunMemory) -> None:
    assert begun.when_free(Holder(3)) == "opened"


def test_an_execution_too_many_leaves_without_a_state(
    tmp_path: Path, flow_run_id: str, begun: FlowRunMemory, caplog: pytest.LogCaptureFixture
) -> None:
    memory, _ = Execution(tmp_path, flow_run_id, 3).sweep()
    with pytest.raises(Abort, match="held by process 7"):
        memory.when_free(Holder(1))
    assert "left to it" in caplog.text


def test_somebody_elses_experiment_is_an_error(tmp_path: Path, flow_run_id: str) -> None:
    memory, _ = Execution(tmp_path, flow_run_id, 1).sweep(name="taken")
    with pytest.raises(ExperimentLocked):
        memory.when_free(Holder(1))
