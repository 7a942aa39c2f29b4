"""What trials leave behind ends with them, and in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import shared_memory
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.cluster import connect
from prefect_tune.execution.dask_executor import DaskExecutor
from prefect_tune.execution.process_groups import LeftBehind

from .experiments import Experiment, make_env


@pytest.fixture
def experiment(tmp_path):
    def experiment(trainable: Any) -> Experiment:
        return Experiment(DaskExecutor(connect()), make_env(trainable, tmp_path))

    yield experiment
    tune.shutdown()


def test_a_killed_trial_leaves_no_shared_memory(experiment, ends):
    def train(config):
        from multiprocessing import resource_tracker

        memory = shared_memory.SharedMemory(create=True, size=1 << 20)
        tune.report(name=memory.name, tracker=resource_tracker._resource_tracker._pid)
        os.kill(os.getpid(), signal.SIGKILL)

    with experiment(train) as run:
        (result,), end = run.run("a")
        assert end.outcome is Outcome.FAILED
        assert ends(result["tracker"])
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(result["name"])


_IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); "


def test_who_ignores_sigterm_is_killed():
    groups = LeftBehind()
    command = [sys.executable, "-c", _IGNORES + "signal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        groups.end(process.pid)
        assert groups
        groups.finish()
        assert not groups
        assert process.wait() == -signal.SIGKILL


def test_a_group_without_members_is_not_waited_for():
    groups = LeftBehind()
    process = subprocess.Popen([sys.executable, "-c", ""], process_group=0)
    process.wait()
    groups.end(process.pid)
    assert not groups
