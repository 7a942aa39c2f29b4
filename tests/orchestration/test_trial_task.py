from __future__ import annotations

import pytest

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.orchestration.trial_task import attempt_state, task_run_name
from prefect_tune.resources import Resources


def ended(outcome: Outcome, error: AttemptError | None = None) -> AttemptEnded:
    return AttemptEnded(0.0, "t", 1, outcome, error)


@pytest.mark.parametrize(
    ("outcome", "type_", "name"),
    [
        (Outcome.FINISHED, "COMPLETED", "Completed"),
        (Outcome.STOPPED, "COMPLETED", "Stopped"),
        (Outcome.PAUSED, "COMPLETED", "Paused"),
        (Outcome.FAILED, "FAILED", "Failed"),
        (Outcome.LOST, "CRASHED", "Crashed"),
    ],
)
def test_each_outcome_has_a_telling_state(outcome: Outcome, type_: str, name: str) -> None:
    state = attempt_state(ended(outcome), "3_lr=0.1")
    assert (state.type.value, state.name) == (type_, name)
    assert state.data is None


def test_a_failure_carries_error_exit_code_and_traceback() -> None:
    error = AttemptError("ValueError", "bad lr", "Traceback: here", exit_code=1, pickled=b"x" * 99)
    message = attempt_state(ended(Outcome.FAILED, error), "").message
    assert message == "ValueError: bad lr (exit code 1)\n\nTraceback: here"


def test_a_huge_traceback_keeps_its_end() -> None:
    error = AttemptError("E", "", "x" * 100_000 + "the cause")
    message = attempt_state(ended(Outcome.FAILED, error), "").message
    assert message is not None
    assert message.endswith("the cause")
    assert len(message) < 10_000


def test_later_attempts_are_told_apart() -> None:
    def launch(attempt: int) -> Launch:
        return Launch("1", attempt, "train_00001", {}, "node", Resources.parse(None))

    assert task_run_name(launch(1)) == "train_00001"
    assert task_run_name(launch(2)) == "train_00001 attempt 2"
