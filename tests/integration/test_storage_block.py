"""A sweep that is stored where a block says: nobody gets to see the block's secrets."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.flows import tune_experiment
from tests.s3.endpoint import Bucket, Endpoint, fresh_bucket

from .rerun_trainables import times_run
from .served import Run, poll, serving

KEY = "AKIAKEYTHATNOBODYSEES"
SECRET = "secret-that-nobody-sees"


@pytest.fixture
def bucket(moto_server: Endpoint) -> Iterator[Bucket]:
    """In moto's server, which takes any credentials."""
    with fresh_bucket(moto_server) as bucket:
        yield bucket


@pytest.fixture
def block(prefect_api: str, bucket: Bucket, moto_server: Endpoint) -> Iterator[str]:
    from prefect_tune.blocks import TuneStorage

    storage = TuneStorage(
        basepath=bucket.url,
        key=KEY,
        secret=SECRET,
        endpoint_url=moto_server.url,
        region=moto_server.region,
    )
    storage.save("secretive", overwrite=True)
    yield "tune-storage/secretive"
    TuneStorage.delete("secretive")


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, float]:
        self.count += 1
        return {"score": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: dict[str, int]) -> None:
        self.count = checkpoint["count"]


def files_with(needle: bytes, root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_nothing_holds_the_secrets(
    block: str,
    bucket: Bucket,
    cluster: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    tuner = tune.Tuner(
        Counter,
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=2),
        run_config=tune.RunConfig(
            name="secretive",
            storage_path=f"block://{block}/below",
            stop={"training_iteration": 3},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            verbose=0,
        ),
    )
    assert [result.metrics["score"] for result in tuner.fit()] == [3, 3]
    keys = bucket.keys("below/secretive/")
    assert any(key.endswith("checkpoint_000003/.is_checkpoint") for key in keys)
    for needle in (KEY, SECRET):
        assert files_with(needle.encode(), tmp_path) == []
        assert files_with(needle.encode(), Path(os.environ["PREFECT_HOME"])) == []
        stored = {key: bucket.read(key) for key in bucket.keys("")}
        assert [key for key, content in stored.items() if needle.encode() in content] == []
        # botocore logs what it sends, at a level that nobody uses in earnest.
        ours = [record for record in caplog.records if record.levelno > logging.DEBUG]
        assert [record for record in ours if needle in record.getMessage()] == []


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_flow_run_goes_on_where_nothing_but_the_storage_is_left(
    block: str, bucket: Bucket, prefect_api: str, tmp_path: Path
) -> None:
    from prefect import get_client
    from prefect.states import Crashed, Scheduled

    def machine(name: str) -> dict[str, str]:
        return {"TUNE_RESULT_DIR": str(tmp_path / name)}

    with get_client(sync_client=True) as client:
        with serving("moved", **machine("first")) as process:
            parameters = {"root": str(tmp_path), "storage": f"block://{block}"}
            run = Run(client, "pipeline/moved", parameters, process)
            poll((tmp_path / "waiting").exists, process)
            poll(lambda: any("journal" in key for key in bucket.keys("train_")), process)
        client.set_flow_run_state(run.id, Crashed(), force=True)
        shutil.rmtree(tmp_path / "first")
        (tmp_path / "go").touch()
        with serving("moved", **machine("second")):
            client.set_flow_run_state(run.id, Scheduled(), force=True)
            run.wait_for("Completed")
    # What the first machine had not yet shipped may have run once more, nothing else.
    assert [times_run(tmp_path, x) for x in range(4)] in ([2, 2, 3, 2], [2, 3, 3, 2], [3, 3, 3, 2])


def test_a_deployment_names_the_block(
    block: str,
    bucket: Bucket,
    cluster: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    state = tune_experiment(
        trainable="tests.integration.trainables:quadratic",
        space={"x": {"uniform": [0, 1]}},
        metric="score",
        mode="max",
        budget={"trials": 2},
        storage=f"block://{block}",
        name="deployed",
        return_state=True,
    )
    assert state.is_completed(), state.message
    assert bucket.keys("deployed/")
    (record,) = bucket.keys(".flow_runs/")
    assert b'"deployed"' in bucket.read(record)
