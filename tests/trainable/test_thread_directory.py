"""Working directories of threads."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

import prefect_tune as tune
from prefect_tune.trainable import thread_directory
from prefect_tune.trainable.thread_directory import unshare_directory

_TOGETHER = threading.Barrier(2)


def train(config):
    _TOGETHER.wait(60)
    with open("artifact.txt", "w") as file:
        file.write(str(config["x"]))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.getcwd()))
    thread.start()
    thread.join()
    child = subprocess.run(["pwd", "-P"], capture_output=True, text=True).stdout.strip()
    _TOGETHER.wait(60)
    tune.report(dirs=[os.getcwd(), *seen, child], origin=os.environ["TUNE_ORIG_WORKING_DIR"])


@pytest.fixture
def has_directories():
    found = []
    thread = threading.Thread(target=lambda: found.append(unshare_directory()))
    thread.start()
    thread.join()
    if not found[0]:
        pytest.skip("this system gives a thread no directory of its own")


def test_trials_in_threads_work_in_their_own_directories(tmp_path, monkeypatch, has_directories):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR", raising=False)
    tune.init(num_cpus=2)
    try:
        analysis = tune.run(
            train,
            config={"x": tune.grid_search([1, 2])},
            isolation="thread",
            storage_path=str(tmp_path / "results"),
            orchestrate=False,
            verbose=0,
        )
    finally:
        tune.shutdown()
    for trial in analysis.trials:
        where = os.path.realpath(trial.logdir)
        assert {os.path.realpath(d) for d in trial.last_result["dirs"]} == {where}
        with open(f"{trial.logdir}/artifact.txt") as file:
            assert file.read() == str(trial.config["x"])
        assert trial.last_result["origin"] == str(tmp_path)
    assert os.getcwd() == str(tmp_path)
    assert not (tmp_path / "artifact.txt").exists()


def test_it_says_once_where_there_is_none(monkeypatch, caplog):
    monkeypatch.setattr(thread_directory, "_warned", False)
    monkeypatch.setattr(thread_directory.sys, "platform", "darwin")
    assert [unshare_directory() for _ in range(2)] == [False, False]
    assert caplog.text.count("Trials in threads work in the directory of their process") == 1
