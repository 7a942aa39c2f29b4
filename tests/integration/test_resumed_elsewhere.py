"""A machine is lost in the middle of a sweep; another one goes on straight from storage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import prefect_tune as tune

from ..s3.endpoint import Bucket

SCRIPT = """
import os, sys, time
import prefect_tune as tune

class Say(tune.Callback):
    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        assert trial.checkpoint.to_dict()["step"] >= checkpoint.to_dict()["step"]
        print("checkpoint", checkpoint.path, flush=True)

def train(config):
    checkpoint = tune.get_checkpoint()
    begin = 0 if checkpoint is None else checkpoint.to_dict()["step"]
    for step in range(begin + 1, 7):
        time.sleep(0.3)
        tune.report(
            {"score": config["a"], "begin": begin},
            checkpoint=tune.Checkpoint.from_dict({"step": step}),
        )

if __name__ == "__main__":
    tune.init(num_cpus=2)
    here, url, mode = sys.argv[1:]
    run = tune.RunConfig(name="t", storage_path=url, local_dir=here, orchestrate=False, verbose=0,
                         callbacks=[Say()])
    if mode == "first":
        tuner = tune.Tuner(train, param_space={"a": tune.grid_search([1, 2, 3, 4])}, run_config=run)
    elif mode == "restore":
        tuner = tune.Tuner.restore(f"{url}/t", train)
    results = tuner.fit()
    for result in results:
        print("trial", result.config["a"], result.metrics["training_iteration"],
              result.metrics["begin"], flush=True)
"""


def start(here: Path, bucket: Bucket, mode: str) -> subprocess.Popen[str]:
    script = here.parent / "sweep_script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        **bucket.endpoint.environ,
        "TUNE_CLOUD_SYNC_S": "1",
        "TUNE_RESULT_DIR": str(here),
    }
    return subprocess.Popen(
        [sys.executable, str(script), str(here), bucket.url, mode],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_another_machine_goes_on_straight_from_storage(tmp_path, s3_bucket, monkeypatch):
    here = tmp_path / "first_machine"
    first = start(here, s3_bucket, "first")
    assert first.stdout is not None
    # Four checkpoints are in storage. What the journal says of them follows.
    for _ in range(4):
        assert first.stdout.readline().startswith("checkpoint")
    for _ in range(100):
        if any(key.endswith("tuner.pkl") for key in s3_bucket.keys("t/")):
            break
        first.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.wait(30)
    first.stdout.close()
    shutil.rmtree(here)
    for name, value in s3_bucket.endpoint.environ.items():
        monkeypatch.setenv(name, value)
    assert tune.Tuner.can_restore(f"{s3_bucket.url}/t")
    second = start(tmp_path / "second_machine", s3_bucket, "restore")
    out, _ = second.communicate(timeout=110)
    assert second.returncode == 0, out
    trials = [line.split()[1:] for line in out.splitlines() if line.startswith("trial")]
    assert [a for a, *_ in trials] == ["1", "2", "3", "4"]
    assert {steps for _, steps, _ in trials} == {"6"}
    for trial in tune.ExperimentAnalysis(f"{s3_bucket.url}/t").trials:
        assert trial.checkpoint.to_dict() == {"step": 6}
