"""`tune.init(local_mode=True)`: one trial after the other, in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, time
import prefect_tune as tune

def train(config):
    begin = time.time()
    time.sleep(0.05)
    return {"pid": os.getpid(), "begin": begin, "end": time.time()}

tune.init(local_mode=True, num_cpus=4)
trials = tune.run(train, config={}, num_samples=5, verbose=0).trials
spans = sorted((t.last_result["begin"], t.last_result["end"]) for t in trials)
assert len(spans) == 5
assert {t.last_result["pid"] for t in trials} == {os.getpid()}
assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:]))
print("one by one")
"""


def test_trials_run_one_by_one_in_this_process(tmp_path: Path):
    environment = {
        **os.environ,
        "PREFECT_TUNE_ORCHESTRATE": "0",
        "TUNE_RESULT_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "one by one\n", done.stderr
