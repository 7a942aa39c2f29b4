from __future__ import annotations

import pytest

from prefect_tune.coordinator.commands import Decide, Kill
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.orchestration.record.trial_task import attempt_state


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


def test_what_is_interrupted_was_not_stopped_for_good() -> None:
    state = attempt_state(ended(Outcome.STOPPED), "3_lr=0.1", interrupted=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Interrupted")
    assert attempt_state(ended(Outcome.FINISHED), "", interrupted=True).name == "Completed"


LIMIT = "its time limit of 9 s was over"
REPORTED = Kill("t", 1, "n", LIMIT, Outcome.STOPPED)
SILENT = Kill("t", 1, "n", f"it had reported nothing when {LIMIT}", Outcome.FAILED)


@pytest.mark.parametrize(
    ("kill", "outcome", "type_", "name"),
    [
        (REPORTED, Outcome.STOPPED, "COMPLETED", "Stopped"),
        (REPORTED, Outcome.FAILED, "COMPLETED", "Stopped"),
        (SILENT, Outcome.STOPPED, "FAILED", "TimedOut"),
        (SILENT, Outcome.LOST, "FAILED", "TimedOut"),
    ],
)
def test_a_trial_over_its_time_limit_says_so(
    kill: Kill, outcome: Outcome, type_: str, name: str
) -> None:
    state = attempt_state(ended(outcome), "3_lr=0.1", kill=kill)
    assert (state.type.value, state.name) == (type_, name)
    assert state.message is not None
    assert LIMIT in state.message


def test_a_trial_that_was_told_to_stop_says_why() -> None:
    told = Decide("t", 1, "n", 3, Action.STOP, reason="it ran to max_t=5")
    state = attempt_state(ended(Outcome.STOPPED), "3_lr=0.1", kill=told)
    assert (state.name, state.message) == ("Stopped", "it ran to max_t=5; 3_lr=0.1")
    assert attempt_state(ended(Outcome.FINISHED), "3_lr=0.1", kill=told).name == "Completed"


def test_a_trial_that_returns_as_its_time_is_over_has_completed() -> None:
    assert attempt_state(ended(Outcome.FINISHED), "", kill=SILENT).name == "Completed"
    assert attempt_state(ended(Outcome.STOPPED), "", True, SILENT).name == "Interrupted"


def test_a_failure_carries_error_exit_code_and_traceback() -> None:
    error = AttemptError("ValueError", "bad lr", "Traceback: here", exit_code=1, pickled=b"x" * 99)
    message = attempt_state(ended(Outcome.FAILED, error), "").message
    assert message == "ValueError: bad lr (exit code 1)\n\nTraceback: here"


def test_a_huge_traceback_keeps_its_end() -> None:
    error = AttemptError("E", "what happened", "x" * 100_000 + "the cause")
    message = attempt_state(ended(Outcome.FAILED, error), "").message
    assert message is not None
    assert message.startswith("E: what happened")
    assert message.endswith("the cause")
    assert len(message) < 10_000


def test_what_is_no_text_does_not_keep_a_state_from_being_recorded() -> None:
    error = AttemptError("OSError", "no such file: caf\udce9\x00", "caf\udce9")
    state = attempt_state(ended(Outcome.FAILED, error), "")
    assert state.model_dump_json()
    assert "\\u0000" not in state.model_dump_json()
    assert attempt_state(ended(Outcome.FINISHED), "1_name=caf\udce9").model_dump_json()
