"""Trainables of modules that lie beside the script, on a worker that lacks the files."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

import prefect_tune as tune
from prefect_tune.error import ClusterError
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.orchestration.spec.experiment import ExperimentSpec
from tests.execution.experiments import Experiment, make_env

_MODULE = """
import prefect_tune as tune

class Settings:
    def __init__(self, score):
        self.score = score

def function(config):
    tune.report(score=config["settings"].score)

class Trainable(tune.Trainable):
    def step(self):
        return {"score": self.config["settings"].score, "done": True}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster with a worker that is started in another directory."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as it:
        address = str(it.scheduler_address)
        options = ("--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        with subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, *options],
            cwd=elsewhere,
            stderr=subprocess.DEVNULL,
        ) as worker:
            try:
                yield address
            finally:
                worker.kill()


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["function", "Trainable"])
def test_they_run(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, start_method: str
) -> None:
    name = f"beside_{kind}_{start_method}".lower()
    project, results = tmp_path / "project", tmp_path / "results"
    project.mkdir()
    results.mkdir()
    (project / f"{name}.py").write_text(_MODULE)
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    module: Any = importlib.import_module(name)
    env = make_env(getattr(module, kind), results, start_method=start_method)
    shutil.rmtree(project)
    monkeypatch.chdir(tmp_path)
    with Experiment(DaskExecutor(connect(cluster)), env) as run:
        run.launch("a", {"settings": module.Settings(7)})
        (result,) = run.until_reported("a").results
    assert result["score"] == 7


def test_a_module_that_is_installed_on_the_driver_alone_says_where_the_worker_looked(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the deployed flow would run it: its trainable is a text."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "only_here.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(str(installed))
    spec = ExperimentSpec.parse(
        {"trainable": "only_here:function", "metric": "score", "mode": "max", "cluster": cluster}
    )
    arguments = spec.run_arguments()
    shutil.rmtree(installed)
    with pytest.raises(ClusterError, match="no module named 'only_here'") as caught:
        tune.run(**{**arguments, "storage_path": str(tmp_path)}, orchestrate=False, verbose=0)
    host = os.uname().nodename
    for part in (f"on node {host}", f"{sys.executable}, working in /", ", looks in /"):
        assert part in str(caught.value)
    assert not list(tmp_path.glob("*/*/params.json")), "no trial has begun"
