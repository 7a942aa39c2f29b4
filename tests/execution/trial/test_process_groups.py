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
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.trial.process_groups import OrphanedProcessGroups
from tests.execution.experiments import Experiment, make_env


@pytest.fixture
def experiment(tmp_path):
    def experiment(trainable: Any, **options: Any) -> Experiment:
        return Experiment(DaskExecutor(connect()), make_env(trainable, tmp_path, **options))

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


def _detached(*command: str) -> int:
    return subprocess.Popen(command or ("sleep", "600"), start_new_session=True).pid


def test_programs_in_sessions_of_their_own_end_with_a_killed_trial(experiment, ends):
    def train(config):
        tune.report(program=_detached(), below=_below_a_shell())
        os.kill(os.getpid(), signal.SIGKILL)

    with experiment(train) as run:
        (result,), end = run.run("a")
        assert end.outcome is Outcome.FAILED
        assert ends(result["program"])
        assert ends(result["below"])


def _below_a_shell() -> int:
    """A program whose parent has ended before the trial does."""
    shell = ["sh", "-c", "setsid sleep 600 >/dev/null & echo $!"]
    return int(subprocess.run(shell, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_programs_of_other_trials_go_on(experiment, ends, start_method):
    def train(config):
        tune.report(program=_detached(), below=_below_a_shell())
        if config["waits"]:
            signal.pause()

    with experiment(train, start_method=start_method) as run:
        run.launch("waits", {"waits": True})
        (going_on,) = run.until_reported("waits").results
        (result,), _ = run.run("ends", {"waits": False})
        assert ends(result["program"])
        assert ends(result["below"])
        for pid in (going_on["program"], going_on["below"]):
            os.kill(pid, 0)
        run.kill("waits")
        assert ends(going_on["program"])
        assert ends(going_on["below"])


_IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); "


def test_who_ignores_sigterm_is_killed():
    groups = OrphanedProcessGroups()
    command = [sys.executable, "-c", _IGNORES + "signal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        groups.end(process.pid)
        assert groups
        groups.wait_until_gone()
        assert not groups
        assert process.wait() == -signal.SIGKILL


def test_a_group_without_members_is_not_waited_for():
    groups = OrphanedProcessGroups()
    process = subprocess.Popen([sys.executable, "-c", ""], process_group=0)
    process.wait()
    groups.end(process.pid)
    assert not groups
