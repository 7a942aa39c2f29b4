"""The cluster block."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

import prefect_tune as tune
from prefect_tune.blocks import DaskAddress, DaskCluster
from prefect_tune.error import ClusterError, InvalidArgument


class TestStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return DaskCluster

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        # The suite fetches the image; tests have no network.
        assert str(block._logo_url).startswith("https://")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    resources = {"CPU": 3}
    with LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, resources=resources
    ) as cluster:
        yield cluster.scheduler_address


class FakeJobQueue(LocalCluster):
    """Behaves as a class of dask-jobqueue does: made with keywords, scaled by `adapt`."""

    adapted: tuple[int, int] | None = None
    closed = 0

    def __init__(self, cores: int) -> None:
        super().__init__(
            n_workers=1, threads_per_worker=cores, processes=False, dashboard_address=None
        )

    def adapt(self, **limits: Any) -> Any:
        type(self).adapted = (limits["minimum"], limits["maximum"])

    def close(self, *args: Any, **kwargs: Any) -> Any:
        type(self).closed += 1
        return super().close(*args, **kwargs)


def test_this_machine_has_the_slots_that_the_block_says() -> None:
    block = DaskCluster(connection={"cpus": 4, "gpus": 1})
    with block.open_client() as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["resources"] == {"CPU": 4, "GPU": 1}


def test_an_address_is_connected_to_and_left_running(address: str) -> None:
    client = DaskCluster(connection={"address": address}).get_client()
    client.close()
    assert client.status == "closed"
    with Client(address, set_as_default=False) as other:
        assert other.scheduler_info()["workers"]


def test_a_class_is_made_scaled_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fake_jobqueue", SimpleNamespace(Cluster=FakeJobQueue))
    FakeJobQueue.closed = 0
    client = DaskCluster(
        connection={"class_path": "fake_jobqueue.Cluster", "arguments": {"cores": 2}, "maximum": 3}
    ).get_client()
    assert FakeJobQueue.adapted == (0, 3)
    assert FakeJobQueue.closed == 0
    client.close()
    assert FakeJobQueue.closed > 0


def train(config: dict[str, Any]) -> dict[str, Any]:
    return {"score": config["x"]}


def test_a_run_takes_the_block(address: str, tmp_path: Path) -> None:
    analysis = tune.run(
        train,
        config={"x": tune.grid_search([1, 2])},
        metric="score",
        mode="max",
        cluster=DaskCluster(connection={"address": address}),
        orchestrate=False,
        storage_path=tmp_path,
        verbose=0,
    )
    assert analysis.best_config == {"x": 2}


def test_a_saved_block_is_named_by_its_slug(prefect_api: str, address: str, tmp_path: Path) -> None:
    DaskCluster(connection={"address": address}).save("there", overwrite=True)
    analysis = tune.run(
        train,
        config={"x": 1},
        cluster="block://dask-cluster/there",
        orchestrate=False,
        storage_path=tmp_path,
        verbose=0,
    )
    assert analysis.trials[0].status == "TERMINATED"
    with pytest.raises(InvalidArgument, match=r"`cluster`: there is no block 'dask-cluster/none'"):
        tune.run(train, cluster="block://dask-cluster/none", storage_path=tmp_path)


@pytest.mark.parametrize(
    ("connection", "problem"),
    [
        ({"address": "tls://host:8786"}, "tls:// needs ca_file and cert_file"),
        ({"address": "host"}, "address"),
        ({"class_path": "SLURMCluster"}, "class_path"),
        ({"class_path": "a.B", "minimum": -1}, "minimum"),
        ({"cpus": 0}, "cpus"),
        ({"cpu": 1}, "cpu"),
    ],
)
def test_wrong_fields_are_refused_when_the_block_is_made(
    connection: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        DaskCluster(connection=connection)


def test_a_scheduler_that_does_not_answer_and_a_missing_class_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prefect_tune.execution.cluster.connections._TIMEOUT_S", 1.0)
    with pytest.raises(ClusterError, match=r"no_such_package\.Cluster cannot be imported"):
        DaskCluster(connection={"class_path": "no_such_package.Cluster"}).get_client()
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        DaskCluster(connection={"address": "tcp://127.0.0.1:1"}).get_client()


def test_certificates_become_the_security_of_the_client(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("ca_file", "cert_file", "key_file")}
    for path in files.values():
        Path(path).write_text("")
    security = DaskAddress(address="tls://host:8786", **files).security()
    assert security.tls_ca_file == files["ca_file"]
    assert security.require_encryption
