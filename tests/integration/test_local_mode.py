"""`tune.init(local_mode=True)`: one trial after the other, in this process."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, time
import prefect_tune as tune

def train(config):
    begin = time.time()
    time.sleep(0.05)
    print("from", config["n"])
    return {"pid": os.getpid(), "begin": begin, "end": time.time()}

tune.init(local_mode=True, num_cpus=4)
grid = {"n": tune.grid_search(list(range(5)))}
trials = tune.run(train, config=grid, log_to_file=("out.log", "err.log"), verbose=0).trials
spans = sorted((t.last_result["begin"], t.last_result["end"]) for t in trials)
assert len(spans) == 5
assert {t.last_result["pid"] for t in trials} == {os.getpid()}
assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:]))
for trial in trials:
    with open(os.path.join(trial.logdir, "out.log")) as file:
        assert file.read() == f"from {trial.config['n']}\\n"
    assert os.path.getsize(os.path.join(trial.logdir, "err.log")) == 0
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
    shown = "".join(f"from {n}\n" for n in range(5)) + "one by one\n"
    assert done.stdout == shown, done.stderr


DEBUGGED = """
import prefect_tune as tune

def train(config):
    doubled = config["x"] * 2
    breakpoint()
    tune.report({"y": doubled})

tune.init(local_mode=True)
grid = {"x": tune.grid_search([21, 22])}
# A limit is no reason to lose the prompt.
trials = tune.run(train, config=grid, trial_time_limit_s=0.1).trials
print("results:", [trial.last_result["y"] for trial in trials])
"""


def test_a_breakpoint_opens_the_debugger_on_the_terminal(tmp_path: Path):
    script = tmp_path / "debugged.py"
    script.write_text(DEBUGGED)
    environment = {
        **os.environ,
        "PREFECT_TUNE_ORCHESTRATE": "0",
        "TUNE_RESULT_DIR": str(tmp_path / "results"),
        "TERM": "xterm",
    }
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        read_until(ours, b"(Pdb) ")
        for doubled in (b"42", b"44"):
            os.write(ours, b"p config['x'] * 2\n")
            shown = read_until(ours, b"(Pdb) ")
            assert b"\n" + doubled + b"\r" in shown
            # Nothing is drawn over the prompt while somebody thinks.
            assert b"trials" not in shown.split(doubled)[-1]
            os.write(ours, b"continue\n")
            last = read_until(ours, b"(Pdb) " if doubled == b"42" else b"results: [42, 44]")
        assert b"2 TERMINATED" in last
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, text: bytes) -> bytes:
    """What a terminal shows up to and including a text."""
    shown = b""
    while text not in shown:
        assert select.select([descriptor], [], [], 60)[0], shown.decode()
        shown += os.read(descriptor, 4096)
    return shown
