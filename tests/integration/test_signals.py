"""SIGINT, SIGTERM and SIGUSR1 end a sweep in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.engine.signals import handle_signals

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
analysis = tune.run(
    endless, config={"x": tune.grid_search([1, 2, 3])}, metric="score", mode="max", verbose=0,
    name="signalled", storage_path=sys.argv[1], orchestrate=False, callbacks=[Say()],
)
print("returned", len(analysis.trials), analysis.best_config)
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -15), (signal.SIGUSR1, 0)]
)
def test_a_signal_ends_the_sweep_and_keeps_its_results(tmp_path: Path, number: int, status: int):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
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
    # The script goes on with what there is; SIGTERM ends it as it ends any script.
    assert ("returned" in out) == (number != signal.SIGTERM)
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
