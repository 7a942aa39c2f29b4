"""What cannot work on Google's and Azure's storage is said before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.blocks import TuneStorage
from prefect_tune.error import StorageError

from ..clouds.bucket import CloudBucket


def run(storage: TuneStorage, here: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        (here / "ran").touch()
        tune.report(score=1)

    tune.run(
        train,
        storage_path=storage,
        local_dir=str(here / "results"),
        orchestrate=False,
        verbose=0,
    )


def test_a_bucket_that_is_not_there(cloud_bucket: CloudBucket, tmp_path: Path) -> None:
    before = cloud_bucket.buckets()
    storage = TuneStorage(basepath=f"{cloud_bucket.missing}/tune", **cloud_bucket.block)
    with pytest.raises(StorageError, match="Give the URL of a bucket that exists"):
        run(storage, tmp_path)
    assert not (tmp_path / "ran").exists()
    assert cloud_bucket.buckets() == before


def test_a_wrong_key(azure_bucket: CloudBucket, tmp_path: Path) -> None:
    wrong = {**azure_bucket.block, "secret": "bm90IHRoZSBrZXk="}
    storage = TuneStorage(basepath=f"{azure_bucket.url}/tune", **wrong)
    with pytest.raises(StorageError, match="access is denied") as raised:
        run(storage, tmp_path)
    assert wrong["secret"] not in str(raised.value)
    assert not (tmp_path / "ran").exists()
    assert azure_bucket.keys() == []
