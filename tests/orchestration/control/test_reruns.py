"""What a flow run remembers of its sweeps, without a flow run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import Abort

from prefect_tune.engine.setup.request import BegunSweep, SweepIdentity
from prefect_tune.error import ExperimentLocked
from prefect_tune.filesystem.location import Location
from prefect_tune.orchestration.control import reruns
from prefect_tune.orchestration.control.current_flow import Caller, FlowIdentity
from prefect_tune.orchestration.control.reruns import StoredRerunRecord, make_rerun_record

_numbers = itertools.count()


@pytest.fixture
def flow_run_id() -> str:
    """Of a flow run that no other test has."""
    return f"run-{next(_numbers)}"


class Execution:
    """One execution of a flow run, in a process or not."""

    def __init__(
        self, storage: Path, root_id: str, count: int, *callers: Caller, own: str = ""
    ) -> None:
        self._flow = FlowIdentity(own or root_id, root_id, count, callers=callers)
        self._storage = Location(str(storage))

    def sweep(
        self, trainable: str = "train", name: str | None = None, **parts: str
    ) -> tuple[StoredRerunRecord, BegunSweep | None]:
        record = StoredRerunRecord(self._flow, patience_s=0)
        return record, record.look_up(self._storage, SweepIdentity(trainable, name, parts))

    def begin(self, begun: str, trainable: str = "train", **parts: str) -> StoredRerunRecord:
        record, _ = self.sweep(trainable, **parts)
        record.record(begun, f"id of {begun}")
        return record


def called(begun: str, failed: bool = False) -> BegunSweep:
    return BegunSweep(begun, f"id of {begun}", failed)


def test_a_new_sweep_has_begun_nothing(tmp_path: Path, flow_run_id: str) -> None:
    _, begun = Execution(tmp_path, flow_run_id, 1).sweep()
    assert begun is None
    assert list(tmp_path.iterdir()) == []


def test_each_of_several_equal_sweeps_finds_its_own(tmp_path: Path, flow_run_id: str) -> None:
    first = Execution(tmp_path, flow_run_id, 1)
    for made_up in ("train_a", "train_b"):
        first.begin(made_up)
    again = Execution(tmp_path, flow_run_id, 2)
    assert [again.sweep()[1] for _ in range(3)] == [called("train_a"), called("train_b"), None]


def test_other_sweeps_do_not_count(tmp_path: Path, flow_run_id: str) -> None:
    first = Execution(tmp_path, flow_run_id, 1)
    first.begin("other_1", "other")
    first.sweep(name="mine")[0].record("mine", "id of mine")
    first.begin("train_1")
    again = Execution(tmp_path, flow_run_id, 2)
    assert again.sweep()[1] == called("train_1")
    assert again.sweep(name="mine")[1] == called("mine")


def test_sweeps_are_known_by_what_they_are_not_by_their_order(
    tmp_path: Path, flow_run_id: str
) -> None:
    first = Execution(tmp_path, flow_run_id, 1)
    first.begin("train_1", space="0")
    first.begin("train_2", space="100")
    again = Execution(tmp_path, flow_run_id, 2)
    assert again.sweep(space="100")[1] == called("train_2")
    assert again.sweep(space="0")[1] == called("train_1")


def test_a_sweep_that_was_changed_begins_anew_and_says_why(
    tmp_path: Path, flow_run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = Execution(tmp_path, flow_run_id, 1)
    first.begin("train_1", metric="loss", space="0")
    first.begin("train_2", metric="score", space="0")
    assert Execution(tmp_path, flow_run_id, 2).sweep(metric="score", space="1")[1] is None
    (told,) = [line for line in caplog.messages if "begins anew" in line]
    assert "differs from train_2" in told
    assert told.endswith("in space.")


def test_flow_runs_do_not_share(tmp_path: Path, flow_run_id: str) -> None:
    Execution(tmp_path, flow_run_id, 1).begin("train_1")
    assert Execution(tmp_path, f"{flow_run_id}-other", 1).sweep()[1] is None


def test_sweeps_of_tasks_that_begin_in_another_order_are_told_apart(
    tmp_path: Path, flow_run_id: str
) -> None:
    for number in ("0", "1"):
        Execution(tmp_path, flow_run_id, 1, Caller(number, 1, f"fit({number})")).begin(number)
    for number in ("1", "0"):
        task = Caller(f"{number}, retried", 1, f"fit({number})")
        assert Execution(tmp_path, flow_run_id, 2, task).sweep()[1] == called(number)


def test_a_task_that_is_retried_goes_on_with_its_own(tmp_path: Path, flow_run_id: str) -> None:
    one, other = Caller("a", 1, "fit()"), Caller("b", 1, "fit()")
    for task, begun in ((one, "train_1"), (other, "train_2")):
        Execution(tmp_path, flow_run_id, 1, task).begin(begun)
    retried = Execution(tmp_path, flow_run_id, 1, Caller("b", 2, "fit()"))
    assert retried.sweep()[1] == called("train_2")
    assert retried.sweep()[1] is None


def test_a_sweep_in_a_subflow_is_found_by_the_way_to_it(tmp_path: Path, flow_run_id: str) -> None:
    def sweep(run_id: str, prepared: int) -> Execution:
        return Execution(
            tmp_path,
            flow_run_id,
            int(run_id),
            Caller(f"task {run_id}", 1, f"prepare({prepared})"),
            Caller(f"flow {run_id}", 1, "tune()"),
            own=f"flow {run_id}",
        )

    sweep("1", prepared=0).begin("train_1")
    # When the run above it is retried, the subflow is another run.
    assert sweep("2", prepared=0).sweep()[1] == called("train_1")
    assert sweep("3", prepared=1).sweep()[1] is None


def test_a_subflow_run_anew_by_its_retried_task_is_the_same_call(
    tmp_path: Path, flow_run_id: str
) -> None:
    def subflow(run_id: str, attempt: int) -> Execution:
        task = Caller("task", attempt, "fit()")
        return Execution(tmp_path, flow_run_id, 1, task, Caller(run_id, 1, "tune()"), own=run_id)

    subflow("a", 1).begin("train_1")
    subflow("b", 1).begin("train_2")
    assert subflow("c", 2).sweep()[1] == called("train_1")
    assert subflow("d", 2).sweep()[1] == called("train_2")


def test_a_sweep_that_another_process_runs_is_left_to_it(
    tmp_path: Path, flow_run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Execution(tmp_path, flow_run_id, 1, Caller("a", 1, "fit()")).begin("train_1")
    monkeypatch.setattr(reruns, "_numbers", reruns._CallNumbers())
    other = Execution(tmp_path, flow_run_id, 1, Caller("b", 1, "fit()"))
    assert other.sweep()[1] is None
    other.begin("train_2")
    assert len(list((tmp_path / ".flow_runs" / flow_run_id).iterdir())) == 2


def test_that_it_failed_is_remembered_until_it_goes_on(tmp_path: Path, flow_run_id: str) -> None:
    Execution(tmp_path, flow_run_id, 1).begin("train_1").record_failure()
    record, begun = Execution(tmp_path, flow_run_id, 2).sweep()
    assert begun == called("train_1", failed=True)
    record.record("train_1", "id of train_1")
    assert Execution(tmp_path, flow_run_id, 3).sweep()[1] == called("train_1")


def test_a_damaged_record_is_no_record(
    tmp_path: Path, flow_run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    Execution(tmp_path, flow_run_id, 1).begin("train_1")
    (record,) = (tmp_path / ".flow_runs" / flow_run_id).iterdir()
    record.write_bytes(b'{"name": "tra')
    assert Execution(tmp_path, flow_run_id, 2).sweep()[1] is None
    assert "cannot be read" in caplog.text


def test_who_did_not_ask_does_not_remember(tmp_path: Path, flow_run_id: str) -> None:
    record = StoredRerunRecord(FlowIdentity(flow_run_id, flow_run_id, 1), patience_s=0)
    record.record("train_1", "id")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "mode"),
    [(None, "AUTO"), ("PROMPT", "AUTO"), (True, True), ("ERRORED_ONLY", "ERRORED_ONLY")],
)
def test_the_users_mode_is_kept(asked: Any, mode: Any) -> None:
    assert called("train_1").resume_mode(asked) == mode


def test_failed_trials_that_failed_the_call_are_tried_again() -> None:
    failed = called("train_1", failed=True)
    assert failed.resume_mode(None) == "AUTO+ERRORED"
    assert failed.resume_mode(None, config=object()) == "AUTO"
    assert failed.resume_mode("AUTO") == "AUTO"


def test_outside_of_flow_runs_there_is_no_record() -> None:
    assert make_rerun_record(30.0) is None


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
def begun(tmp_path: Path, flow_run_id: str, monkeypatch: pytest.MonkeyPatch) -> StoredRerunRecord:
    monkeypatch.setattr(reruns, "_POLL_S", 0.0)
    Execution(tmp_path, flow_run_id, 1).begin("train_1")
    record = StoredRerunRecord(FlowIdentity(flow_run_id, flow_run_id, 2), patience_s=60)
    record.look_up(Location(str(tmp_path)), SweepIdentity("train", None, {}))
    return record


def test_it_waits_for_the_process_before_it_to_end(begun: StoredRerunRecord) -> None:
    assert begun.when_free(Holder(3)) == "opened"


def test_an_execution_too_many_leaves_without_a_state(
    tmp_path: Path, flow_run_id: str, begun: StoredRerunRecord, caplog: pytest.LogCaptureFixture
) -> None:
    record, _ = Execution(tmp_path, flow_run_id, 3).sweep()
    with pytest.raises(Abort, match="held by process 7"):
        record.when_free(Holder(1))
    assert "left to it" in caplog.text


def test_somebody_elses_experiment_is_an_error(tmp_path: Path, flow_run_id: str) -> None:
    record, _ = Execution(tmp_path, flow_run_id, 1).sweep(name="taken")
    with pytest.raises(ExperimentLocked):
        record.when_free(Holder(1))
