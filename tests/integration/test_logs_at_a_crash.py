"""What the loggers have written when the flow process comes to an early end."""

from __future__ import annotations

import csv
import json
import signal
import sys
import textwrap

import pytest
from tensorboardX.proto.event_pb2 import Event

from ..warm_python import run_script

SCRIPT = """
    import os, signal, sys, time
    import prefect_tune as tune

    def train(config):
        step = 0
        while True:
            step += 1
            time.sleep(0.005)
            tune.report({"step": step, "nested": {"square": step * step}})

    class Ends(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            if result["step"] != 30:
                return
            if sys.argv[1] == "error":
                raise KeyError("from the callback")
            if sys.argv[1] == "exit":
                raise SystemExit(3)
            os.kill(os.getpid(), signal.SIGTERM)

    tune.run(
        train,
        name="e",
        local_dir=sys.argv[2],
        callbacks=[Ends()],
        stop={"step": 100_000},
        verbose=0,
        orchestrate=False,
    )
"""


def drawn(directory):
    """The values of `step` in TensorBoard's files."""
    (path,) = directory.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        values = Event.FromString(data[12 : 12 + size]).summary.value
        found += [int(value.simple_value) for value in values if value.tag == "ray/tune/step"]
        data = data[12 + size + 4 :]
    return found


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("error", 1, "The callback Ends failed in on_trial_result: KeyError: 'from the callback'"),
        ("exit", 3, ""),
        ("sigterm", -signal.SIGTERM, "resume=True"),
    ],
)
def test_everything_up_to_the_end_is_in_all_files(tmp_path, how, status, said):
    script = textwrap.dedent(SCRIPT)
    done = run_script([sys.executable, "-c", script, how, str(tmp_path)])
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    (directory,) = (path.parent for path in tmp_path.glob("e/*/result.json"))
    lines = (directory / "result.json").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 30
    with (directory / "progress.csv").open(newline="") as file:
        assert [int(row["nested/square"]) for row in csv.DictReader(file)] == [n * n for n in steps]
    assert drawn(directory) == steps
