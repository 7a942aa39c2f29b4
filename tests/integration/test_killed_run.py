"""A flow process that is killed with SIGKILL leaves a readable directory and no orphans."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import ResultReported
from prefect_tune.coordinator.records import decode_event
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal

from ..warm_python import start_script

SCRIPT = """
import sys, time
import prefect_tune as tune

class Say(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print(result["pid"], flush=True)

def endless(config):
    step = 0
    while True:
        step += 1
        tune.report({"step": step, "score": config["x"] * step})
        time.sleep(0.01)

tune.init(num_cpus=2)
tune.run(endless, config={"x": tune.grid_search([1, 2])}, name="killed", verbose=0,
         storage_path=sys.argv[1], orchestrate=False, callbacks=[Say()])
"""


@pytest.fixture
def killed(tmp_path: Path) -> set[int]:
    """Kills a run after a good number of results; gives the pids of its trials."""
    process = start_script(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    # The loggers write at least once a second, so something is on disk by then.
    pids = {int(process.stdout.readline()) for _ in range(300)}
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    return pids


def test_results_are_readable_and_every_shown_one_is_in_the_journal(killed, tmp_path):
    assert len(killed) == 2
    journal = LocalJournal(tmp_path / "killed" / JOURNAL_FILE)
    events = [decode_event(record) for record in list(journal.read())[1:]]
    journal.close()
    acknowledged = sum(len(e.results) for e in events if isinstance(e, ResultReported))
    assert acknowledged >= 300
    analysis = tune.ExperimentAnalysis(
        str(tmp_path / "killed"), default_metric="score", default_mode="max"
    )
    assert len(analysis.trials) == 2
    assert analysis.best_config == {"x": 2}


def test_no_trial_runs_on(killed):
    left = []
    for pid in killed:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
