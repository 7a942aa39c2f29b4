"""Wrong input: a clear error that names the argument, before any trial starts."""

from __future__ import annotations

import os
import sys
import threading

import pytest

import prefect_tune as tune
from prefect_tune.error import (
    ClusterError,
    ExperimentLocked,
    InsufficientResources,
    InvalidArgument,
    InvalidTrainable,
    MissingMetric,
)
from prefect_tune.execution.cluster import connections
from prefect_tune.storage.experiment_dir import ExperimentDir

from ..warm_python import run_script
from . import trainables

NAN = float("nan")


@pytest.mark.parametrize(
    ("argument", "kwargs"),
    [
        ("mode", {"mode": "maximum", "metric": "score"}),
        ("config", {"config": [1, 2]}),
        ("config", {"config": 3}),
        ("num_samples", {"num_samples": -2}),
        ("num_samples", {"num_samples": 1.5}),
        ("resources_per_trial", {"resources_per_trial": {"cpu": -1}}),
        ("resources_per_trial", {"resources_per_trial": {"gpu": NAN}}),
        ("resources_per_trial", {"resources_per_trial": {"cpu": "two"}}),
        ("resources_per_trial", {"resources_per_trial": {"cpu": 64}}),
        ("resources_per_trial", {"resources_per_trial": {"tpu": 1}}),
        ("stop", {"stop": {"a": {"b": 1}}}),
        ("stop", {"stop": 3}),
        ("scheduler", {"scheduler": "no_such"}),
        ("search_alg", {"search_alg": "no_such"}),
        ("cluster", {"cluster": 42}),
        ("isolation", {"isolation": "container"}),
        ("max_failures", {"max_failures": -2}),
        ("fail_fast", {"fail_fast": True, "max_failures": 2}),
        ("callbacks", {"callbacks": [print]}),
        ("name", {"name": "a/../b"}),
        ("name", {"name": "/a"}),
        ("verbose", {"verbose": 9}),
    ],
)
def test_a_wrong_argument_is_named(sweep, tmp_path, argument, kwargs):
    with pytest.raises(ValueError, match=argument):
        sweep(trainables.quadratic, **{"config": {"x": 1}, **kwargs})
    assert not any("result.json" in files for _, _, files in os.walk(tmp_path))


def test_a_trainable_without_config(sweep):
    with pytest.raises(InvalidTrainable, match="no_config"):
        sweep(trainables.no_config)


def test_a_lambda_that_cannot_be_pickled(sweep):
    lock = threading.Lock()
    with pytest.raises(InvalidTrainable, match="pickle"):
        sweep(lambda config: lock.acquire(), config={})


def test_a_metric_that_is_never_reported(sweep, monkeypatch):
    with pytest.raises(MissingMetric, match="accuracy"):
        sweep(trainables.wrong_metric, config={}, metric="acc", mode="max")
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    assert sweep(trainables.wrong_metric, config={}, metric="acc", mode="max").trials


def test_a_metric_that_is_no_number(sweep):
    with pytest.raises(MissingMetric, match="'high'"):
        sweep(trainables.text_metric, config={}, metric="acc", mode="max")


@pytest.fixture
def impatient(monkeypatch):
    """Does not wait long for a scheduler that is not there."""
    monkeypatch.setattr(connections, "_TIMEOUT_S", 1.0)


def test_an_unreachable_cluster(sweep, impatient):
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:1"):
        sweep(trainables.quadratic, config={"x": 1}, cluster="tcp://127.0.0.1:1")


def test_what_was_given_to_a_refused_call_can_be_given_again(sweep, impatient):
    parts = {
        "scheduler": tune.create_scheduler("asha", max_t=2),
        "metric": "score",
        "mode": "max",
        "config": {"x": 1},
    }
    with pytest.raises(InsufficientResources):
        sweep(trainables.quadratic, resources_per_trial={"gpu": 64}, **parts)
    with pytest.raises(ClusterError):
        sweep(trainables.quadratic, cluster="tcp://127.0.0.1:1", **parts)
    assert sweep(trainables.quadratic, **parts).trials


def test_an_unreachable_prefect_api(tmp_path):
    # In a process of its own: other tests have a server in effect in this one.
    script = "import prefect_tune as tune; tune.run(lambda config: {'x': 1}, config={})"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "TUNE_RESULT_DIR": str(tmp_path / "results"),
    }
    done = run_script([sys.executable, "-c", script], env=environment)
    assert done.returncode == 1
    assert "PrefectUnavailable" in done.stderr
    assert "http://127.0.0.1:9/api" in done.stderr
    assert not list(tmp_path.glob("results/*/*/result.json"))


def test_a_storage_path_that_cannot_be_written(sweep, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="storage_path"):
        sweep(trainables.quadratic, config={"x": 1}, storage_path=str(tmp_path / "file"))


def test_two_sweeps_with_one_name_at_once(sweep, tmp_path):
    running = ExperimentDir(tmp_path, "taken", "other")
    with pytest.raises(ExperimentLocked, match="name"):
        sweep(trainables.quadratic, config={"x": 1}, name="taken")
    running.close()


def test_a_tuner_without_trainable():
    with pytest.raises(InvalidArgument, match="trainable"):
        tune.Tuner()
