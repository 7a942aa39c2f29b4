"""A flow process that is killed with SIGKILL in the middle of a grid is resumed by the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import psutil

import prefect_tune as tune
from prefect_tune.coordinator.events import AttemptEnded, AttemptLaunched, ResultReported
from prefect_tune.coordinator.records import decode_event
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import parse_header

from ..warm_python import start_script

SCRIPT = """
import os, sys, time
import prefect_tune as tune

class Say(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print(result["pid"], flush=True)

def train(config):
    for step in range(5):
        time.sleep(0.02)
        tune.report({"step": step, "score": config["a"] + config["b"] + config["c"]})

tune.init(num_cpus=3)
space = {name: tune.grid_search([1, 2, 3]) for name in "abc"}
analysis = tune.run(train, config=space, name="resumed", metric="score", mode="max", verbose=0,
         storage_path=sys.argv[1], orchestrate=False, callbacks=[Say()], resume="AUTO")
print("best", analysis.best_config, len(analysis.trials))
"""


def start(path: Path) -> subprocess.Popen[str]:
    return start_script(
        [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True
    )


def kill_after(path: Path, results: int) -> None:
    process = start(path)
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(results)}
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    left = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive


def test_a_grid_that_is_killed_twice_ends_with_exactly_its_trials(tmp_path):
    kill_after(tmp_path, 30)
    kill_after(tmp_path, 30)
    process = start(tmp_path)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "best {'a': 3, 'b': 3, 'c': 3} 27"

    journal = LocalJournal(tmp_path / "resumed" / JOURNAL_FILE)
    records = list(journal.read())
    journal.close()
    events = [decode_event(record) for record in records if parse_header(record) is None]
    ended, seen = set(), {}
    for event in events:
        if isinstance(event, AttemptLaunched):
            assert event.trial_id not in ended
        elif isinstance(event, AttemptEnded):
            ended.add(event.trial_id)
        elif isinstance(event, ResultReported):
            key = event.trial_id, event.attempt
            assert event.first_seq == seen.get(key, 0) + 1
            seen[key] = event.first_seq + len(event.results) - 1
    assert len(ended) == 27
    acknowledged = {trial_id: 0 for trial_id, _ in seen}
    for (trial_id, _), count in seen.items():
        acknowledged[trial_id] += count

    files = list((tmp_path / "resumed").glob("*/result.json"))
    assert len(files) == 27
    for file in files:
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        assert len(lines) == acknowledged[lines[0]["trial_id"]]
        assert lines[-1]["step"] == 4
        rows = (file.parent / "progress.csv").read_text().splitlines()
        assert len(rows) == len(lines) + 1
    analysis = tune.ExperimentAnalysis(str(tmp_path / "resumed"))
    assert len(analysis.trials) == 27
