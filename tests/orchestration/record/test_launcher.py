"""Retries in the flow run's log."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace

import pytest

from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.orchestration.record.launcher import RetryLog
from tests.orchestration.fakes import launch_of

LOG = logging.getLogger("tests.retries")


def ended(outcome: Outcome, trial: int = 0) -> Future[AttemptEnded]:
    error = AttemptError("ValueError", "boom", "", 1) if outcome is Outcome.FAILED else None
    future: Future[AttemptEnded] = Future()
    future.set_result(AttemptEnded(0.0, str(trial), 1, outcome, error))
    return future


def test_a_retry_says_why_and_from_where(caplog: pytest.LogCaptureFixture) -> None:
    log = RetryLog(LOG)
    launch, _ = launch_of(0)
    log.follow(launch, ended(Outcome.FAILED))
    again = replace(launch, attempt=2, checkpoint="train_00000/checkpoint_000010")
    log.follow(again, ended(Outcome.LOST))
    log.follow(replace(launch, attempt=3), ended(Outcome.FINISHED))
    assert caplog.messages == [
        "Attempt 1 of train_00000 failed: ValueError: boom. It is tried again: "
        "train_00000 attempt 2 from checkpoint_000010.",
        "Attempt 2 of train_00000 was lost. It is tried again: train_00000 attempt 3.",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.STOPPED, Outcome.PAUSED])
def test_other_attempts_are_no_retries(outcome: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    log = RetryLog(LOG)
    launch, _ = launch_of(0)
    log.follow(launch, ended(outcome))
    log.follow(replace(launch, attempt=2), ended(Outcome.FINISHED))
    assert caplog.messages == []


def test_a_storm_of_failures_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = RetryLog(LOG)
    launch, _ = launch_of(0)
    for attempt in range(1, 500):
        log.follow(replace(launch, attempt=attempt), ended(Outcome.FAILED))
    assert len(caplog.messages) == 201
