"""What users are told of nodes that lack files, or do not reach storage."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from distributed import LocalCluster

import prefect_tune as tune
from prefect_tune.error import ClusterError
from prefect_tune.execution.checkpoints.transfer_process import OutageReport
from prefect_tune.execution.driver.node_problems import StorageOutages, only_on_driver
from prefect_tune.execution.protocol.reports import StorageOutage
from prefect_tune.experiment.attempt import AttemptError
from tests.execution.dask_workers import dask_worker

PLACES = "/usr/bin/python, working in /scratch, looks in /scratch, /lib"
AWAY = StorageOutage("cannot write s3://b/x (it took too long).")
BACK = StorageOutage("")


def lacks(error: Exception, cwd: Path) -> str:
    return only_on_driver(AttemptError(type(error).__name__, str(error)), str(cwd), "node7", PLACES)


def missing(path: object) -> FileNotFoundError:
    return FileNotFoundError(2, "No such file or directory", str(path))


def test_a_file_of_the_drivers_working_directory(tmp_path):
    (tmp_path / "data.csv").touch()
    text = lacks(missing("data.csv"), tmp_path)
    assert f"{tmp_path}/data.csv is there on the driver's machine" in text
    assert "host node7 does not see it (/usr/bin/python, working in /scratch)." in text
    assert "with_parameters" in text
    assert lacks(missing(tmp_path / "data.csv"), Path("/")) == text


def test_a_module_that_is_installed_on_the_driver(tmp_path):
    text = lacks(ModuleNotFoundError("No module named 'pytest'"), tmp_path)
    assert "the module 'pytest' is there on the driver's machine (/" in text
    assert f"host node7 lacks it ({PLACES}). Install it on every worker" in text


@pytest.mark.parametrize(
    "error",
    [
        missing("elsewhere.csv"),
        FileExistsError(17, "File exists", "data.csv"),
        ModuleNotFoundError("No module named 'nowhere_at_all'"),
        ModuleNotFoundError("No module named 'pytest.nowhere'"),
        ValueError("No such file or directory: 'data.csv'"),
    ],
)
def test_what_the_driver_lacks_too_is_an_error_of_the_trial(error, tmp_path):
    (tmp_path / "data.csv").touch()
    assert lacks(error, tmp_path) == ""


@pytest.fixture(scope="module")
def cluster():
    """A worker as on another machine."""
    with (
        LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster,
        dask_worker(cluster.scheduler_address, PREFECT_TUNE_SHARED_DIRECTORY="0"),
    ):
        yield cluster


def read(config):
    if config["first"]:
        tune.report(x=1)
    # What opening it raises on a machine without it; here it is there.
    raise FileNotFoundError(2, "No such file or directory", config["path"])


def sweep(cluster, directory, first):
    path = directory / "data.csv"
    path.touch()
    return tune.run(
        read,
        config={"path": str(path), "first": first},
        num_samples=30,
        cluster=cluster,
        storage_path=str(directory),
        name="read",
        orchestrate=False,
        raise_on_failed_trial=False,
        verbose=0,
    )


def test_the_sweep_ends_at_the_first_trial(cluster, tmp_path):
    with pytest.raises(ClusterError, match=r"data\.csv is there on the driver's.*removed, go on"):
        sweep(cluster, tmp_path, first=False)
    trials = tune.ExperimentAnalysis(str(tmp_path / "read")).trials
    assert all(trial.status in ("PENDING", "RUNNING") for trial in trials)


def test_with_results_it_is_told_once_and_the_trials_have_failed(cluster, tmp_path, caplog):
    analysis = sweep(cluster, tmp_path, first=True)
    assert {trial.status for trial in analysis.trials} == {"ERROR"}
    assert len(analysis.trials) == 30
    assert caplog.text.count("is there on the driver's machine") == 1
    assert "is there on the driver's machine" in str(analysis.trials[7].error)


def test_an_outage_of_several_nodes_is_told_once_each_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outages = StorageOutages()
    with caplog.at_level(logging.WARNING):
        outages.on_report("a", AWAY)
        outages.on_report("b", AWAY)
        outages.on_report("a", BACK)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "from a: cannot write s3://b/x" in caplog.text
        outages.on_report("b", BACK)
    assert len(caplog.records) == 2
    assert "again after 0 s" in caplog.text
    outages.on_report("b", AWAY)
    assert len(caplog.records) == 3


def test_a_node_that_is_gone_says_nothing_of_storage(caplog: pytest.LogCaptureFixture) -> None:
    outages = StorageOutages()
    outages.on_report("a", AWAY)
    outages.lose_node("a")
    outages.on_report("b", BACK)
    assert "again" not in caplog.text
    outages.on_report("b", AWAY)
    assert "from b" in caplog.text


def test_the_process_that_moves_checkpoints_says_it_once_each_way() -> None:
    said: list[str] = []
    report = OutageReport(said.append)
    report.on_success()
    for problem in ("one", "two"):
        report.on_failure(problem)
    for _ in range(2):
        report.on_success()
    report.on_failure("three")
    assert said == ["one", "", "three"]
