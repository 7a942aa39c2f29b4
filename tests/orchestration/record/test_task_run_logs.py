"""Output of attempts on its way to the logs of their task runs."""

from __future__ import annotations

import pytest

from prefect_tune.orchestration.record.task_run_logs import TaskRunLogs
from prefect_tune.trainable.output import TrialOutput

KEY = ("a", 1)


def output(*lines: str, left_out: int = 0, trial_id: str = "a") -> TrialOutput:
    return TrialOutput(trial_id, 1, 42, False, lines, left_out, "/t/stdout")


@pytest.fixture
def logged() -> list[str]:
    return []


def test_what_comes_before_the_task_run_waits_for_it(logged: list[str]) -> None:
    logs = TaskRunLogs(lambda: logged.append)
    logs.expect(KEY)
    logs.put(output("early"))
    assert logged == []
    logs.attach(KEY)
    logs.put(output("one", "two", left_out=9))
    assert logged == ["early", "... 9 bytes are left out, see /t/stdout\none\ntwo"]
    logs.detach(KEY)
    logs.put(output("late"))
    assert len(logged) == 2


def test_attempts_without_a_task_run_take_no_memory(logged: list[str]) -> None:
    logs = TaskRunLogs(lambda: logged.append)
    logs.put(output("nobody asked", trial_id="b"))
    logs.attach(("b", 1))
    assert logged == []


def test_no_more_than_so_much_waits(logged: list[str]) -> None:
    logs = TaskRunLogs(lambda: logged.append)
    logs.expect(KEY)
    for _ in range(10_000):
        logs.put(output("again"))
    logs.attach(KEY)
    assert 0 < len(logged) < 1000
