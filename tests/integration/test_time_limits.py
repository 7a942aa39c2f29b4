"""Trials that hang are ended, whatever they hang in."""

from __future__ import annotations

import os
import time

import pytest

from . import trainables


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setenv("PREFECT_TUNE_STOP_GRACE_S", "0.5")
    monkeypatch.setenv("PREFECT_TUNE_STOP_PATIENCE_S", "0.5")


def test_a_trial_over_its_time_limit_is_ended(sweep):
    grid = {"how": {"grid_search": ["sleeps", "says nothing", "deaf", "in C", "swallows"]}}
    analysis = sweep(
        trainables.hang,
        config=grid,
        trial_time_limit_s=1,
        max_failures=2,
        raise_on_failed_trial=False,
    )
    ended = {trial.config["how"]: trial for trial in analysis.trials}
    silent = ended.pop("says nothing")
    assert silent.status == "ERROR"
    assert silent.attempt == 1
    with open(os.path.join(silent.logdir, "error.txt")) as file:
        assert "time limit of 1 s" in file.read()
    assert {trial.status for trial in ended.values()} == {"TERMINATED"}
    for trial in ended.values():
        with pytest.raises(ProcessLookupError):
            os.kill(trial.last_result["process"], 0)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_the_time_budget_ends_hung_trials_as_well(sweep, isolation):
    begin = time.monotonic()
    analysis = sweep(
        trainables.hang,
        config={"how": {"grid_search": ["sleeps", "reports"]}},
        time_budget_s=1,
        isolation=isolation,
    )
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    assert all(trial.last_result["process"] for trial in analysis.trials)
    assert time.monotonic() - begin < 60, "a trial sleeps for 1000 s"
