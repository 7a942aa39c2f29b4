"""A machine is lost in the middle of a sweep; another one goes on straight from storage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.blocks import TuneStorage

from ..clouds.bucket import CloudBucket
from ..clouds.webhdfs import webhdfs_server
from ..s3.endpoint import Bucket
from ..warm_python import start_script

SCRIPT = """
import json, sys, time
import prefect_tune as tune
from prefect_tune.blocks import TuneStorage

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
    here, url, block, mode = sys.argv[1:]
    space = {"a": tune.grid_search([1, 2, 3, 4])}
    if mode == "auto":
        found = tune.run(train, config=space, resume="AUTO", name="t", local_dir=here, verbose=0,
                         storage_path=TuneStorage(basepath=url, **json.loads(block)),
                         orchestrate=False, callbacks=[Say()])
        ends = [(trial.config["a"], trial.last_result) for trial in found.trials]
    else:
        run = tune.RunConfig(name="t", storage_path=url, local_dir=here, orchestrate=False,
                             verbose=0, callbacks=[Say()])
        if mode == "first":
            tuner = tune.Tuner(train, param_space=space, run_config=run)
        elif mode == "restore":
            tuner = tune.Tuner.restore(f"{url}/t", train)
        ends = [(result.config["a"], result.metrics) for result in tuner.fit()]
    for a, metrics in ends:
        print("trial", a, metrics["training_iteration"], metrics["begin"], flush=True)
"""


def start(
    here: Path, url: str, environ: Mapping[str, str], mode: str, block: Mapping[str, str]
) -> subprocess.Popen[str]:
    script = here.parent / "sweep_script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        **environ,
        "TUNE_CLOUD_SYNC_S": "1",
        "TUNE_RESULT_DIR": str(here),
    }
    return start_script(
        [sys.executable, str(script), str(here), url, json.dumps(dict(block)), mode],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def lose_the_machine_and_go_on(
    tmp_path: Path,
    url: str,
    environ: Mapping[str, str],
    keys: Callable[[], list[str]],
    mode: str = "restore",
    block: Mapping[str, str] | None = None,
) -> None:
    """Afterwards every trial is complete on the second machine.

    Args:
        tmp_path: Takes the machines' directories.
        url: Where the experiment is kept.
        environ: How to get there.
        keys: What is in storage.
        mode: How the second machine goes on: as "restore" or "auto".
        block: Fields of the block that "auto" uses, without `environ`.
    """
    here = tmp_path / "first_machine"
    first = start(here, url, environ, "auto" if block else "first", block or {})
    assert first.stdout is not None
    # Four checkpoints are in storage. What the journal says of them follows.
    for _ in range(4):
        assert first.stdout.readline().startswith("checkpoint")
    for _ in range(100):
        if any(key.startswith("t/") and key.endswith("tuner.pkl") for key in keys()):
            break
        first.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.wait(30)
    first.stdout.close()
    shutil.rmtree(here)
    second = start(tmp_path / "second_machine", url, environ, mode, block or {})
    out, _ = second.communicate(timeout=110)
    assert second.returncode == 0, out
    trials = [line.split()[1:] for line in out.splitlines() if line.startswith("trial")]
    assert [a for a, *_ in trials] == ["1", "2", "3", "4"]
    assert {steps for _, steps, _ in trials} == {"6"}


def test_another_machine_goes_on_straight_from_storage(tmp_path, s3_bucket: Bucket, monkeypatch):
    for name, value in s3_bucket.endpoint.environ.items():
        monkeypatch.setenv(name, value)
    url = s3_bucket.url
    lose_the_machine_and_go_on(tmp_path, url, s3_bucket.endpoint.environ, s3_bucket.keys)
    check_checkpoints(url)


def test_another_machine_goes_on_from_other_clouds(
    tmp_path, cloud_bucket: CloudBucket, monkeypatch
):
    for name, value in cloud_bucket.environ.items():
        monkeypatch.setenv(name, value)
    url = cloud_bucket.url
    lose_the_machine_and_go_on(tmp_path, url, cloud_bucket.environ, cloud_bucket.keys)
    check_checkpoints(url)


def test_another_machine_goes_on_with_a_block_by_itself(tmp_path, cloud_bucket: CloudBucket):
    url, block = cloud_bucket.url, cloud_bucket.block
    lose_the_machine_and_go_on(tmp_path, url, {}, cloud_bucket.keys, "auto", block)
    storage = TuneStorage(basepath=f"{url}/t", **block)
    for trial in tune.ExperimentAnalysis(storage).trials:
        assert trial.checkpoint.to_dict() == {"step": 6}


@pytest.mark.slow
def test_another_machine_goes_on_from_a_file_system_with_directories(tmp_path):
    root = tmp_path / "hdfs"
    root.mkdir()

    def keys() -> list[str]:
        return [file.relative_to(root / "tune").as_posix() for file in root.glob("tune/**/*")]

    with webhdfs_server(root) as hdfs:
        lose_the_machine_and_go_on(tmp_path, f"{hdfs.url}/tune", {}, keys)
        check_checkpoints(f"{hdfs.url}/tune")


def check_checkpoints(url: str) -> None:
    assert tune.Tuner.can_restore(f"{url}/t")
    analysis = tune.ExperimentAnalysis(f"{url}/t")
    assert len(analysis.trials) == 4
    for trial in analysis.trials:
        assert trial.checkpoint.to_dict() == {"step": 6}
