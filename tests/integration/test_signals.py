"""SIGINT, SIGTERM and SIGUSR1 end a sweep in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.engine.signals import handle_signals

from ..warm_python import start_script

SCRIPT = """
import sys, time
import prefect_tune as tune

class Say(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print("result", flush=True)

def endless(config):
    try:
        while True:
            tune.report({"score": config["x"]})
            time.sleep(0.01)
    finally:
        open("cleaned", "w").close()

tune.init(num_cpus=2)
try:
    analysis = tune.run(
        endless, config={"x": tune.grid_search([1, 2, 3])}, metric="score", mode="max", verbose=0,
        name="signalled", storage_path=sys.argv[1], orchestrate=False, callbacks=[Say()],
    )
    print("returned", len(analysis.trials), analysis.best_config)
except tune.ExperimentInterrupted as error:
    print("raised", len(error.analysis.trials), error)
"""


@pytest.mark.parametrize(
    ("number", "status", "raises", "outcome"),
    [
        (signal.SIGINT, 0, "", "raised 3"),
        (signal.SIGTERM, -15, "", ""),
        (signal.SIGUSR1, 0, "", "raised 3"),
        (signal.SIGINT, 0, "0", "returned 3"),
    ],
)
def test_a_signal_ends_the_sweep_and_keeps_its_results(
    tmp_path: Path, number: int, status: int, raises: str, outcome: str
):
    process = start_script(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PREFECT_TUNE_RAISE_ON_INTERRUPT": raises},
    )
    assert process.stdout is not None
    for _ in range(20):
        assert process.stdout.readline() == "result\n"
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "the sweep has ended early" in err
    call = f"tune.run(..., name='signalled', storage_path={str(tmp_path)!r}, resume=True)"
    assert call in err
    assert str(tmp_path / "signalled") in err
    # SIGTERM ends the script as it ends any.
    said = [line for line in out.splitlines() if line.startswith(("returned", "raised"))]
    assert [line[: len(outcome)] for line in said] == [outcome] * bool(outcome)
    cleaned = list((tmp_path / "signalled").glob("*/cleaned"))
    assert len(cleaned) == 2
    analysis = tune.ExperimentAnalysis(
        str(tmp_path / "signalled"), default_metric="score", default_mode="max"
    )
    assert analysis.best_config in ({"x": 2}, {"x": 1})


def test_a_handler_of_the_users_own_for_sigusr1_is_kept():
    seen: list[int] = []
    told: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        with handle_signals(told.append):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (seen, told) == ([signal.SIGUSR1], [])


STUBBORN = """
import asyncio, sys, time
import prefect_tune as tune

def stubborn(config):
    tune.report({"score": 1})
    print("begun", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def sweep():
    tune.run(stubborn, verbose=0, storage_path=sys.argv[1], orchestrate=False, callbacks=[Say()])

class Say(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print(trial.last_result["pid"], flush=True)

async def main():
    sweep()

tune.init(num_cpus=1)
asyncio.run(main()) if sys.argv[2] == "async" else sweep()
"""


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_second_ctrl_c_waits_for_nobody(tmp_path: Path, way: str):
    process = start_script(
        [sys.executable, "-c", STUBBORN, str(tmp_path), way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PREFECT_TUNE_STOP_GRACE_S": "600", "PREFECT_TUNE_LOG_TO_DRIVER": "0"},
    )
    assert process.stdout is not None
    trial = int(process.stdout.readline())
    # Trials would have ten minutes to end after the first one alone.
    os.kill(process.pid, signal.SIGINT)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    with pytest.raises(ProcessLookupError):
        os.kill(trial, 0)
