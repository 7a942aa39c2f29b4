"""Large objects of trainables on nodes that are other processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from distributed import LocalCluster

import prefect_tune as tune


def train(config, data=None, died=None):
    if config["a"] == 2 and not Path(died).exists():
        Path(died).touch()
        os.kill(os.getppid(), signal.SIGKILL)  # the process that has the data
        time.sleep(60)
    smaps = Path("/proc/self/smaps_rollup").read_text()
    anonymous = next(line for line in smaps.splitlines() if line.startswith("Private_Dirty"))
    tune.report(sum=float(data.sum()), own_mb=int(anonymous.split()[1]) >> 10)


def test_a_node_has_them_once_and_gets_them_again_when_they_are_lost(tmp_path):
    data = np.ones(8 << 20)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        resources={"CPU": 1},
        memory_limit=0,
        dashboard_address=None,
    ) as cluster:
        analysis = tune.run(
            tune.with_parameters(train, data=data, died=str(tmp_path / "died")),
            config={"a": tune.grid_search(list(range(6)))},
            cluster=cluster,
            storage_path=str(tmp_path),
            orchestrate=False,
            verbose=0,
        )

    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 6
    assert {trial.last_result["sum"] for trial in analysis.trials} == {float(data.sum())}
    assert max(trial.last_result["own_mb"] for trial in analysis.trials) < data.nbytes >> 21
    assert not any(trial.num_failures for trial in analysis.trials), "it was not their fault"
