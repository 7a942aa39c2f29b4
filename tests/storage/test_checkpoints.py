from __future__ import annotations

from pathlib import Path

import pytest

from prefect_tune.checkpoint.manifest import MARKER, verify, write_manifest
from prefect_tune.error import CheckpointUnreadable, StorageError, StorageUnavailable
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.storage.checkpoints import CheckpointStore
from tests.s3.endpoint import Bucket
from tests.s3.fault_proxy import FaultProxy
from tests.s3.faults import INTERNAL_ERROR

from .stores import DictStore

REL = "trial_1/checkpoint_000003"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    (directory / "sub").mkdir(parents=True)
    (directory / "model").write_bytes(b"weights")
    (directory / "sub" / "state").write_bytes(b"12")
    write_manifest(directory, Progress(3))
    return directory


@pytest.fixture(params=["local", "dict", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(Location(str(tmp_path / "store")))
    if request.param == "dict":
        return DictStore()
    bucket: Bucket = request.getfixturevalue("s3_bucket")
    return open_store(Location(f"{bucket.url}/exp", bucket.options))


@pytest.fixture
def checkpoints(store: Store) -> CheckpointStore:
    return CheckpointStore(store)


def test_there_and_back(checkpoints: CheckpointStore, checkpoint: Path, tmp_path: Path) -> None:
    assert not checkpoints.is_complete(REL)
    assert checkpoints.manifest(REL) is None
    checkpoints.put(checkpoint, REL)
    assert checkpoints.is_complete(REL)
    assert checkpoints.manifest(REL).iteration == 3
    assert checkpoints.names("trial_1") == ["checkpoint_000003"]
    checkpoints.get(REL, tmp_path / "got")
    assert verify(tmp_path / "got") == ""
    assert (tmp_path / "got" / "sub" / "state").read_bytes() == b"12"


def test_one_that_is_replaced(
    checkpoints: CheckpointStore, checkpoint: Path, store: Store, tmp_path: Path
) -> None:
    checkpoints.put(checkpoint, REL)
    (checkpoint / "sub" / "state").unlink()
    (checkpoint / "other").write_bytes(b"3")
    write_manifest(checkpoint, Progress(3))
    checkpoints.put(checkpoint, REL)
    assert sorted(store.sizes(REL)) == [MARKER, "model", "other"]
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "old").write_bytes(b"x")
    checkpoints.get(REL, tmp_path / "got")
    assert sorted(p.name for p in (tmp_path / "got").iterdir()) == [MARKER, "model", "other"]


def test_deleted(checkpoints: CheckpointStore, checkpoint: Path, store: Store) -> None:
    store.write("trial_1/result.json", b"stays")
    checkpoints.put(checkpoint, REL)
    checkpoints.delete(REL)
    checkpoints.delete(REL)
    assert store.sizes() == {"trial_1/result.json": 5}
    assert checkpoints.names("trial_1") == []


@pytest.mark.parametrize("lost", ["model", "sub/state", MARKER])
def test_one_that_lost_a_file(
    checkpoints: CheckpointStore, checkpoint: Path, store: Store, tmp_path: Path, lost: str
) -> None:
    checkpoints.put(checkpoint, REL)
    store.delete([f"{REL}/{lost}"])
    assert not checkpoints.is_complete(REL)
    with pytest.raises(CheckpointUnreadable, match=r"checkpoint_000003 is damaged"):
        checkpoints.get(REL, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_one_that_was_cut(
    checkpoints: CheckpointStore, checkpoint: Path, store: Store, tmp_path: Path
) -> None:
    checkpoints.put(checkpoint, REL)
    store.write(f"{REL}/model", b"wei")
    assert not checkpoints.is_complete(REL)
    with pytest.raises(CheckpointUnreadable, match="model has 3 bytes instead of 7"):
        checkpoints.get(REL, tmp_path / "got")


def test_a_damaged_marker(checkpoints: CheckpointStore, checkpoint: Path, store: Store) -> None:
    checkpoints.put(checkpoint, REL)
    store.write(f"{REL}/{MARKER}", b"{nonsense")
    assert not checkpoints.is_complete(REL)
    with pytest.raises(CheckpointUnreadable):
        checkpoints.manifest(REL)


def test_half_a_checkpoint_is_not_stored(
    checkpoints: CheckpointStore, checkpoint: Path, store: Store
) -> None:
    (checkpoint / "model").unlink()
    with pytest.raises(CheckpointUnreadable, match="model is missing"):
        checkpoints.put(checkpoint, REL)
    assert store.sizes() == {}


@pytest.mark.parametrize("calls", range(1, 5))
def test_wherever_writing_stops_there_is_no_half_checkpoint(checkpoint: Path, calls: int) -> None:
    """Also when it replaces one: the old one is gone or whole, the new one there or not."""
    store = DictStore()
    checkpoints = CheckpointStore(store)
    checkpoints.put(checkpoint, REL)
    (checkpoint / "model").write_bytes(b"other weights")
    write_manifest(checkpoint, Progress(3))
    check, left = store._check, [calls]

    def fail_later() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StorageUnavailable("killed here")
        check()

    store._check = fail_later
    write, written = store.write, []

    def write_or_fail(rel: str, data: bytes) -> None:
        fail_later()
        written.append(rel)
        write(rel, data)

    store.write = write_or_fail
    with pytest.raises(StorageError):
        checkpoints.put(checkpoint, REL)
    store._check = check
    complete = checkpoints.is_complete(REL)
    assert complete == (not written and MARKER in store.sizes(REL))


def test_what_fails_half_way_can_be_put_again(
    fault_bucket: Bucket, fault_proxy: FaultProxy, checkpoint: Path
) -> None:
    limits = Limits(request_s=10, outage_s=0.3, first_delay_s=0.01)
    checkpoints = CheckpointStore(
        open_store(Location(fault_bucket.url, fault_bucket.options), limits)
    )
    fault_proxy.inject(INTERNAL_ERROR, methods=["PUT"], path="is_checkpoint")
    with pytest.raises(StorageUnavailable):
        checkpoints.put(checkpoint, REL)
    fault_proxy.clear()
    assert not checkpoints.is_complete(REL)
    checkpoints.put(checkpoint, REL)
    assert checkpoints.is_complete(REL)


def test_swift_does_as_well(swift_bucket: Bucket, checkpoint: Path, tmp_path: Path) -> None:
    location = Location(f"{swift_bucket.url}/exp", swift_bucket.options)
    checkpoints = CheckpointStore(open_store(location))
    checkpoints.put(checkpoint, REL)
    checkpoints.get(REL, tmp_path / "got")
    checkpoints.delete(REL)
    assert not checkpoints.is_complete(REL)
    assert open_store(location).sizes() == {}
