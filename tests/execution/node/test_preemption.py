"""Workers that are told to end: their trials checkpoint and go on elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from distributed import Client, LocalCluster

import prefect_tune as tune
from prefect_tune import Checkpoint

# Workers are started with their nannies, as on a cluster, one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LAST = 4


@pytest.fixture
def scheduler():
    """A scheduler without workers."""
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def worker(scheduler, name, *arguments):
    command = [sys.executable, "-m", "dask", "worker", scheduler, "--name", name]
    options = ["--no-dashboard", "--nthreads", "1", *arguments]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.02)


def train(config):
    """Waits in its third round until it is told to checkpoint, but for the second attempt."""
    start = tune.get_checkpoint()
    first = start.to_dict()["n"] if start else 0
    for n in range(first + 1, LAST + 1):
        if n == 3 and not start:
            open(config["there"], "w").close()
            while not tune.should_checkpoint():
                time.sleep(0.02)
        # Only what is asked for: without a grace period, it would begin again.
        checkpoint = Checkpoint.from_dict({"n": n}) if n == 3 and not start else None
        tune.report({"n": n, "began": first}, checkpoint=checkpoint)


class Train(tune.Trainable):
    def setup(self, config):
        self.n = self.began = 0

    def step(self):
        self.n += 1
        if self.n == 3 and not self.began:
            open(self.config["there"], "w").close()
            wait_for(self.config["go"])
        return {"n": self.n, "began": self.began, "done": self.n == LAST}

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = self.began = checkpoint["n"]


def sweep(scheduler, tmp_path, trainable, end):
    """Run one trial, of whose first worker `end` is called when it is in its third round."""
    there, go = tmp_path / "there", tmp_path / "go"
    told = []

    class Watch(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            if result["n"] == 2 and not told:
                wait_for(there)
                told.append(trial)
                end()
                go.touch()

        def on_trial_error(self, **info):
            raise AssertionError("it has failed")

    (trial,) = tune.run(
        trainable,
        config={"there": str(there), "go": str(go)},
        cluster=scheduler,
        orchestrate=False,
        storage_path=str(tmp_path),
        callbacks=[Watch()],
        max_failures=0,
        verbose=0,
    ).trials
    assert told
    return trial


@pytest.mark.parametrize("arguments", [[], ["--no-nanny"]], ids=["nanny", "no nanny"])
def test_trials_checkpoint_at_sigterm_and_go_on_elsewhere(scheduler, tmp_path, arguments):
    with worker(scheduler, "first", *arguments) as first, contextlib.ExitStack() as others:

        def end():
            others.enter_context(worker(scheduler, "second", *arguments))
            with Client(scheduler) as client:
                client.wait_for_workers(2)
            first.send_signal(signal.SIGTERM)

        trial = sweep(scheduler, tmp_path, train, end)
        assert first.wait(60) is not None
    assert (trial.status, trial.num_failures) == ("TERMINATED", 0)
    assert (trial.last_result["n"], trial.last_result["began"]) == (LAST, 3)


@pytest.mark.parametrize("trainable", [train, Train])
def test_trials_of_a_retired_worker_checkpoint_and_go_on_elsewhere(scheduler, tmp_path, trainable):
    with worker(scheduler, "first"), contextlib.ExitStack() as others:

        def end():
            with Client(scheduler) as client:
                (address,) = client.scheduler_info()["workers"]
                others.enter_context(worker(scheduler, "second"))
                client.wait_for_workers(2)
                client.retire_workers([address], close_workers=True)

        trial = sweep(scheduler, tmp_path, trainable, end)
    assert (trial.status, trial.num_failures) == ("TERMINATED", 0)
    assert (trial.last_result["n"], trial.last_result["began"]) == (LAST, 3)
