"""Clusters of the packages that deploy Dask, by stand-ins that behave like theirs."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any, ClassVar

import dask
import pytest
from distributed import (
    Client,
    LocalCluster,
    Nanny,
    Scheduler,
    Security,
    SpecCluster,
    Worker,
    get_client,
    rpc,
)
from distributed.deploy import Cluster

import prefect_tune as tune
from prefect_tune.blocks import DaskCluster
from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.cluster.api import connect

LOCAL = {"host": "127.0.0.1", "dashboard_address": ":0"}


class Counted:
    """What has been asked of the newest cluster of a class."""

    calls: ClassVar[list[tuple[Any, ...]]] = []


class SLURMCluster(SpecCluster, Counted):
    """As dask-jobqueue's: `scale` and `adapt` count jobs, too; starts without any."""

    def __init__(self, cores: int = 1, n_workers: int = 0, **options: Any) -> None:
        self.calls.clear()
        security = options.get("security")
        common = {**LOCAL, "security": security, "protocol": "tls" if security else "tcp"}
        super().__init__(
            worker={"cls": Worker, "options": {**common, "nthreads": cores}},
            scheduler={"cls": Scheduler, "options": common},
            **options,
        )
        if n_workers:
            self.scale(n_workers)

    def scale(self, n: int | None = None, jobs: int = 0) -> Any:
        self.calls.append(("scale", n or jobs))
        return super().scale(jobs or n)

    def adapt(self, *args: Any, minimum_jobs: int = 0, **limits: Any) -> Any:
        self.calls.append(("adapt", limits["minimum"], limits["maximum"]))
        return super().adapt(*args, interval="100 ms", **limits)

    def close(self, timeout: float | None = None) -> Any:
        self.calls.append(("close",))
        return super().close(timeout)


class VMCluster(SLURMCluster):
    """As those of dask-cloudprovider: encrypted with certificates made for the moment."""

    def __init__(self, n_workers: int = 0, security: Any = True) -> None:
        made = Security.temporary() if security is True else security
        super().__init__(n_workers=n_workers, security=made)


class KubeCluster(Cluster, Counted):
    """As dask-kubernetes's: an operator, told what there has to be, starts and ends workers."""

    def __init__(self, name: str = "sweep", n_workers: int = 0, asynchronous: bool = False) -> None:
        self.calls.clear()
        self.operated = SLURMCluster(n_workers=n_workers)
        super().__init__(name=name, asynchronous=asynchronous, quiet=True)
        self._loop_runner.start()
        self.sync(self._start)

    async def _start(self) -> None:
        self.scheduler_comm = rpc(self.operated.scheduler_address)
        await super()._start()

    @property
    def dashboard_link(self) -> str:
        return "http://forwarded:1/status"

    def scale(self, n: int, worker_group: str = "default") -> Any:
        self.operated.scale(n)

    def adapt(self, minimum: int | None = None, maximum: int | None = None) -> Any:
        self.operated.adapt(minimum=minimum, maximum=maximum)

    def close(self, timeout: float = 3600) -> Any:
        closed = super().close()
        self.operated.close()
        return closed

    def __exit__(self, *_: object) -> None:
        self.close()


class GatewayCluster(Counted):
    """As dask-gateway's: no `Cluster` of Dask's; its scheduler is reached by `get_client` alone."""

    status = "running"
    asynchronous = False
    scheduler_address = "gateway://gateway:8786/0123456789abcdef"
    dashboard_link = "http://gateway/clusters/0123456789abcdef/status"

    def __init__(self, n_workers: int = 0) -> None:
        self.calls.clear()
        self.security = Security.temporary()
        self._behind = VMCluster(n_workers, self.security)
        self._clients: list[Client] = []

    def get_client(self, set_as_default: bool = True) -> Client:
        address = self._behind.scheduler_address
        client = Client(address, security=self.security, set_as_default=set_as_default)
        client.cluster = self
        self._clients.append(client)
        return client

    def scale(self, n: int) -> None:
        self._behind.scale(n)

    def adapt(
        self, minimum: int | None = None, maximum: int | None = None, active: bool = True
    ) -> None:
        self._behind.adapt(minimum=minimum, maximum=maximum)

    def close(self, shutdown: bool | None = None) -> None:
        self.status = "closed"
        self._behind.close()

    def __enter__(self) -> GatewayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


KINDS = [SLURMCluster, VMCluster, KubeCluster, GatewayCluster]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def run(cluster: Any, path: Any, **options: Any) -> Any:
    return tune.run(
        lambda config: {"x": config["x"], "pid": os.getpid()},
        config={"x": tune.grid_search([1, 2])},
        cluster=cluster,
        orchestrate=False,
        storage_path=path,
        verbose=0,
        **options,
    )


@kinds
def test_a_run_uses_the_cluster_and_leaves_it_running(kind, tmp_path):
    with kind(n_workers=1) as cluster:
        for name in ("first", "again"):
            analysis = run(cluster, tmp_path, name=name)
            assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
        assert ("close",) not in cluster.calls
        with pytest.raises(ValueError, match="No global client"):
            # The user's own computations do not go there by default.
            get_client()
        handle = connect(cluster)
        assert handle.dashboard() == cluster.dashboard_link
        handle.shutdown()
        assert len(handle.address.split("://")) == 2
        for client in getattr(cluster, "_clients", []):
            assert client.status == "closed"
    assert ("close",) in cluster.calls


@kinds
def test_waiting_trials_scale_it_up_from_no_worker(kind, tmp_path):
    with kind() as cluster:
        cluster.adapt(minimum=0, maximum=2)
        assert [trial.status for trial in run(cluster, tmp_path).trials] == ["TERMINATED"] * 2


@kinds
def test_a_block_makes_it_scales_it_and_ends_it(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fake_package", SimpleNamespace(Made=kind))
    made = {"class_path": "fake_package.Made", "arguments": {"n_workers": 0}}
    for limits, asked in [
        ({"minimum": 1}, ("scale", 1)),
        ({"maximum": 2}, ("adapt", 0, 2)),
    ]:
        run(DaskCluster(connection={**made, **limits}), tmp_path, name=asked[0])
        assert asked in Counted.calls
        assert ("close",) in Counted.calls


@kinds
def test_one_that_is_closed_is_named(kind, tmp_path):
    with kind() as cluster:
        pass
    with pytest.raises(ClusterError, match=rf"`cluster`: the {kind.__name__} is closed"):
        run(cluster, tmp_path)


@kinds
def test_one_that_is_asynchronous_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, "asynchronous", True, raising=False)
    cluster = object.__new__(kind)
    with pytest.raises(InvalidArgument, match=rf"the {kind.__name__} is asynchronous"):
        run(cluster, tmp_path)


def test_one_that_does_not_connect_is_named(tmp_path):
    with GatewayCluster() as cluster:
        cluster.security = None
        with pytest.raises(ClusterError, match=r"GatewayCluster\.get_client\(\) does not connect"):
            run(cluster, tmp_path)


class LocalCUDACluster(LocalCluster):
    """As dask-cuda's: a worker per GPU, each of which sees all of them, its own one first."""

    def __init__(self, gpus: int) -> None:
        self.gpus = [str(number) for number in range(gpus)]
        super().__init__(
            n_workers=0,
            threads_per_worker=1,
            worker_class=Nanny,
            resources={"GPU": 1},
            host="127.0.0.1",
            dashboard_address=":0",
        )
        self.scale(gpus)
        self.sync(self._correct_state)

    def new_worker_spec(self):
        number = min(set(range(len(self.gpus))) - set(self.worker_spec))
        visible = ",".join(self.gpus[number:] + self.gpus[:number])
        options = {**self.new_spec["options"], "env": {"CUDA_VISIBLE_DEVICES": visible}}
        return {number: {"cls": self.new_spec["cls"], "options": options}}


def test_each_worker_of_a_cluster_for_gpus_has_one(nvml, monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml({"uuid": "GPU-a", "name": "NVIDIA A100"}, {"uuid": "GPU-b", "name": "NVIDIA A100"})
    barrier = tmp_path / "barrier"
    barrier.mkdir()

    def train(config):
        (barrier / config["name"]).touch()
        while len(os.listdir(barrier)) < 2:  # both run at the same time
            time.sleep(0.05)
        return {"devices": os.environ["CUDA_VISIBLE_DEVICES"]}

    with (
        dask.config.set({"distributed.diagnostics.nvml": False}),
        LocalCUDACluster(gpus=2) as cluster,
    ):
        analysis = tune.run(
            train,
            config={"name": tune.grid_search(["one", "two"])},
            resources_per_trial={"cpu": 1, "gpu": 1},
            cluster=cluster,
            orchestrate=False,
            storage_path=tmp_path,
            verbose=0,
        )
    assert sorted(trial.last_result["devices"] for trial in analysis.trials) == ["0", "1"]
