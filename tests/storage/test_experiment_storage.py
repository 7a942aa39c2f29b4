from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest

from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.error import ExperimentLocked, StorageError, StorageUnavailable
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.storage import experiment_storage, lease
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.fetch import is_resumable
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.storage.storage_plan import StoragePlan
from prefect_tune.storage.sync.user_sync import make_user_sync
from tests.s3.endpoint import Bucket
from tests.s3.fault_proxy import FaultProxy
from tests.s3.faults import WRONG_KEY


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(request_s=10, outage_s=1, first_delay_s=0.01)
    for name in ("_OPENING", "_SHIPPING", "_LEASING"):
        monkeypatch.setattr(experiment_storage, name, limits)
    monkeypatch.setattr(lease, "_CONFIRM_S", 0.05)
    monkeypatch.setattr(experiment_storage, "_SHIP_AGAIN_S", 0.05)


class Runs:
    """Runs one experiment again and again, on one machine or several."""

    def __init__(self, root: Path, location: Location | None, **plan: object) -> None:
        self.root = root
        self.location = location
        self.plan = plan
        self.origin = ""

    def directory(self, machine: str = "here") -> Path:
        path = self.root / machine / "exp"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def open(self, machine: str = "here", *, resume: bool = False, **more) -> ExperimentStorage:
        directory = self.directory(machine)
        plan = StoragePlan(str(directory.parent), self.location, **self.plan)
        experiment_id = uuid.uuid4().hex
        storage = ExperimentStorage(directory, experiment_id, plan, **more)
        storage.open(resume=resume)
        self.origin = self.origin if resume else experiment_id
        header = JournalHeader(experiment_id, self.origin, "exp", len(records(storage)))
        storage.journal.append([header.encode()])
        return storage


def records(storage: ExperimentStorage) -> list[dict]:
    """What a journal says besides its headers."""
    found = [json.loads(record) for record in storage.journal.read()]
    return [record for record in found if "journal" not in record]


@pytest.fixture
def location() -> Location:
    return Location(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def runs(tmp_path: Path, location: Location) -> Runs:
    return Runs(tmp_path, location)


def test_without_storage_everything_is_local(tmp_path: Path) -> None:
    runs = Runs(tmp_path, None)
    storage = runs.open()
    storage.start()
    storage.journal.append([b'{"n":1}'])
    checkpoint = runs.directory() / "trial" / "checkpoint_000001"
    checkpoint.mkdir(parents=True)
    write_manifest(checkpoint)
    storage.delete_checkpoint("trial/checkpoint_000001")
    assert storage.location is None
    assert storage.flush(10)
    storage.close(10)
    assert not checkpoint.exists()
    again = runs.open(resume=True)
    assert records(again) == [{"n": 1}]
    again.close()


def test_a_lost_machine(runs: Runs) -> None:
    storage = runs.open()
    storage.start()
    (runs.directory() / "tuner.pkl").write_bytes(b"arguments")
    (runs.directory() / "trial").mkdir()
    (runs.directory() / "trial" / "result.json").write_bytes(b"{}\n")
    storage.journal.append([b'{"n":1}', b'{"n":2}'])
    assert storage.flush(30)
    storage.close(30)
    shutil.rmtree(runs.directory())
    again = runs.open("elsewhere", resume=True)
    assert records(again) == [{"n": 1}, {"n": 2}]
    assert (runs.directory("elsewhere") / "tuner.pkl").read_bytes() == b"arguments"
    assert (runs.directory("elsewhere") / "trial" / "result.json").read_bytes() == b"{}\n"
    again.start()
    again.journal.append([b'{"n":3}'])
    again.close(30)
    third = runs.open("third", resume=True)
    assert records(third) == [{"n": 1}, {"n": 2}, {"n": 3}]
    third.close()


def write_note(runs: Runs, machine: str, text: str) -> None:
    path = runs.directory(machine) / "trial" / "note"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def run_on(runs: Runs, machine: str, note: str, number: int) -> None:
    storage = runs.open(machine, resume=number > 1)
    storage.start()
    write_note(runs, machine, note)
    storage.journal.append([b'{"n":%d}' % number])
    storage.close(30)


def test_back_on_a_machine_with_an_older_copy(runs: Runs, location: Location) -> None:
    run_on(runs, "a", "first", 1)
    run_on(runs, "b", "other", 2)  # of the same size
    third = runs.open("a", resume=True)
    third.start()
    assert records(third) == [{"n": 1}, {"n": 2}]
    assert (runs.directory("a") / "trial" / "note").read_text() == "other"
    third.close(30)
    assert open_store(location / "exp").read("trial/note") == b"other"


def test_a_fetch_that_was_cut_off_is_made_again(
    runs: Runs, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(runs, "a", "first", 1)
    run_on(runs, "b", "other, longer", 2)

    def cut_off(*arguments: object, **more: object) -> None:
        raise StorageUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "get_tree", cut_off)
        with pytest.raises(StorageUnavailable):
            runs.open("a", resume=True)
    third = runs.open("a", resume=True)
    third.start()
    third.close(30)
    assert open_store(location / "exp").read("trial/note") == b"other, longer"


def test_a_killed_process_on_the_same_machine(runs: Runs) -> None:
    storage = runs.open()
    storage.start()
    assert storage.flush(30)
    storage._cancelled.set()  # nothing is shipped from here on, as after SIGKILL
    storage.journal.append([b'{"n":1}'])
    storage.close(0)
    again = runs.open(resume=True)
    assert records(again) == [{"n": 1}]
    again.start()
    again.close(30)
    elsewhere = runs.open("elsewhere", resume=True)
    assert records(elsewhere) == [{"n": 1}]
    elsewhere.close()


def test_a_new_run_in_the_same_place(runs: Runs) -> None:
    first = runs.open()
    first.start()
    first.journal.append([b'{"n":1}'])
    first.close(30)
    second = runs.open()
    second.start()
    second.journal.append([b'{"n":2}'])
    second.close(30)
    again = runs.open("elsewhere", resume=True)
    assert records(again) == [{"n": 2}]
    again.close()


@pytest.mark.parametrize("remote", [False, True])
def test_a_new_run_behind_a_journal_that_was_cut(
    tmp_path: Path, location: Location, remote: bool, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs(tmp_path, location if remote else None)
    storage = runs.open()
    storage.start()
    storage.journal.append([b'{"old":1}'])
    storage.close(30)
    with open(storage.journal.path, "ab") as file:
        file.write(b'12345678 {"cut')
    new = runs.open()
    new.start()
    new.journal.append([b'{"new":1}'])
    new.close(30)
    assert "is damaged at line" in caplog.text
    again = runs.open("elsewhere" if remote else "here", resume=True)
    assert records(again)[-1] == {"new": 1}
    again.close(30)


def test_is_resumable(runs: Runs, location: Location, tmp_path: Path) -> None:
    assert not is_resumable(location / "exp")
    storage = runs.open()
    storage.start()
    storage.close(30)
    assert is_resumable(location / "exp")
    assert not is_resumable(location / "ex")
    assert is_resumable(Location(str(runs.directory())))
    assert not is_resumable(Location(str(tmp_path)))


def test_two_writers(runs: Runs) -> None:
    first = runs.open()
    with pytest.raises(ExperimentLocked, match=rf"process {os.getpid()} of "):
        runs.open("elsewhere")
    first.close(10)
    runs.open("elsewhere", resume=True).close(10)


def test_one_that_was_taken_over_writes_no_more(
    runs: Runs, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "DURATION_S", 0.3)
    monkeypatch.setattr(lease.Lease.__init__, "__defaults__", (0.3, None))
    heard = threading.Event()
    lost: list[StorageError] = []

    def hear(error: StorageError) -> None:
        lost.append(error)
        heard.set()

    zombie = runs.open(on_lost=hear)
    zombie.start()
    assert zombie.flush(30)
    store = open_store(location / "exp")
    other = lease.Holder("other", user="eve", expires=2**33)
    store.write(lease.LEASE_FILE, other.encode())
    assert heard.wait(30)
    assert isinstance(lost[0], ExperimentLocked)
    before = store.sizes()
    zombie.journal.append([b'{"late":1}'])
    (runs.directory() / "late").write_bytes(b"1")
    zombie.close(5)
    assert store.sizes() == before


def test_another_experiment_of_the_same_name_is_set_aside(
    runs: Runs, location: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = runs.open("there")
    storage.start()
    storage.journal.append([b'{"n":1}'])
    storage.close(30)
    other = Runs(tmp_path, None).open("here")
    other.journal.append([b'{"n":2}'])
    other.close(30)
    (runs.directory("here") / "trial_of_other").mkdir()
    (runs.directory("here") / "trial_of_other" / "result.json").write_bytes(b"{}\n")
    for told in (1, 1):  # it is moved once
        again = runs.open("here", resume=True)
        assert records(again) == [{"n": 1}]
        again.start()
        again.close(30)
        assert caplog.text.count("held another experiment") == told
    aside = tmp_path / "here" / "exp.other-1"
    assert (aside / "trial_of_other" / "result.json").exists()
    assert b'{"n":2}' in (aside / "journal.jsonl").read_bytes()
    assert not (runs.directory("here") / "trial_of_other").exists()
    assert not [name for name in open_store(location / "exp").sizes() if "other" in name]


def test_a_new_run_on_a_machine_that_was_cut_off_counts(runs: Runs) -> None:
    storage = runs.open()
    storage.start()
    storage.journal.append([b'{"n":1}'])
    storage.close(30)
    new = runs.open()  # and nothing of it gets into storage
    new.journal.append([b'{"n":2}'])
    new.close(0)
    again = runs.open(resume=True)
    assert records(again) == [{"n": 1}, {"n": 2}]
    again.close(30)


def test_checkpoints_are_deleted_in_both_places(runs: Runs, location: Location) -> None:
    storage = runs.open()
    storage.start()
    checkpoints = CheckpointStore(open_store(location / "exp"))
    for number in (1, 2):
        here = runs.directory() / "trial" / f"checkpoint_{number:06d}"
        here.mkdir(parents=True)
        (here / "model").write_bytes(b"1")
        write_manifest(here)
        checkpoints.put(here, f"trial/checkpoint_{number:06d}")
    storage.delete_checkpoint("trial/checkpoint_000001")
    storage.delete_checkpoint("s3://of/another/experiment")
    storage.delete_checkpoint("/of/another/experiment")
    storage.delete_checkpoint("../other/checkpoint_000001")
    storage.close(30)
    assert checkpoints.names("trial") == ["checkpoint_000002"]
    left = [path.name for path in (runs.directory() / "trial").iterdir()]
    assert left == ["checkpoint_000002"]


def test_the_sweep_goes_on_while_s3_is_away(
    tmp_path: Path,
    fault_bucket: Bucket,
    fault_proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = Runs(tmp_path, Location(fault_bucket.url, fault_bucket.options))
    storage = runs.open()
    storage.start()
    assert storage.flush(30)
    fault_proxy.go_away()
    storage.journal.append([b'{"n":1}'])
    assert not storage.flush(2)
    assert "the end of the journal" in caplog.text
    fault_proxy.come_back()
    assert storage.flush(30)
    storage.close(30)
    again = runs.open("elsewhere", resume=True)
    assert records(again) == [{"n": 1}]
    again.close(10)


def test_what_is_missing_at_the_end_is_said(
    tmp_path: Path,
    fault_bucket: Bucket,
    fault_proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = Runs(tmp_path, Location(fault_bucket.url, fault_bucket.options))
    storage = runs.open()
    storage.start()
    assert storage.flush(30)
    fault_proxy.go_away()
    storage.journal.append([b'{"n":1}'])
    with caplog.at_level(logging.WARNING):
        storage.close(1)
    assert f"Not in {fault_bucket.url}/exp after 1 s: the end of the journal" in caplog.text
    assert str(runs.directory()) in caplog.text
    fault_proxy.come_back()
    # The lease of this very process is taken over, and the local journal knows more.
    again = runs.open(resume=True)
    assert records(again) == [{"n": 1}]
    again.close(10)


def test_a_store_that_is_away_at_the_start(
    tmp_path: Path, fault_bucket: Bucket, fault_proxy: FaultProxy
) -> None:
    fault_proxy.go_away()
    with pytest.raises(StorageUnavailable, match=fault_bucket.url):
        Runs(tmp_path, Location(fault_bucket.url, fault_bucket.options)).open()


def test_wrong_credentials_at_the_start(
    tmp_path: Path, fault_bucket: Bucket, fault_proxy: FaultProxy
) -> None:
    fault_proxy.inject(WRONG_KEY)
    with pytest.raises(StorageError, match="the access key is not known there"):
        Runs(tmp_path, Location(fault_bucket.url, fault_bucket.options)).open()


def test_a_bucket_that_may_only_be_read_at_the_start(
    tmp_path: Path, fault_bucket: Bucket, fault_proxy: FaultProxy
) -> None:
    fault_proxy.refuse_writes()
    with pytest.raises(StorageError, match="access is denied"):
        Runs(tmp_path, Location(fault_bucket.url, fault_bucket.options)).open()


def test_a_damaged_journal_in_storage(
    runs: Runs, location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    storage = runs.open()
    storage.start()
    for number in range(3):
        storage.journal.append([b'{"n":%d}' % number])
        assert storage.flush(30)
    storage.close(30)
    store = open_store(location / "exp")
    last = sorted(store.sizes("journal"))[-1]
    data = bytearray(store.read(f"journal/{last}"))
    data[-5] ^= 1
    store.write(f"journal/{last}", bytes(data))
    again = runs.open("elsewhere", resume=True)
    assert records(again) == [{"n": 0}, {"n": 1}]
    assert "is incomplete" in caplog.text
    assert last in caplog.text
    again.close(10)
    # Where the local journal is, nothing is lost.
    here = runs.open("here", resume=True)
    assert records(here)[:2] == [{"n": 0}, {"n": 1}]
    here.close(10)


def test_the_users_own_sync(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    sync = make_user_sync("cp -rT {source} {target}")
    runs = Runs(tmp_path, None, user_sync=sync, user_target=str(there), period_s=3600.0)
    storage = runs.open()
    storage.start()
    (runs.directory() / "trial").mkdir()
    (runs.directory() / "trial" / "result.json").write_bytes(b"{}\n")
    storage.journal.append([b'{"n":1}'])
    storage.close(30)
    assert (there / "exp" / "trial" / "result.json").exists()
    shutil.rmtree(runs.directory())
    again = runs.open(resume=True)
    assert records(again) == [{"n": 1}]
    again.close(30)


_CHILD = """
    import sys, uuid
    from pathlib import Path
    from prefect_tune.filesystem.location import Location
    from prefect_tune.storage.experiment_storage import ExperimentStorage
    from prefect_tune.storage.journal.header import JournalHeader
    from prefect_tune.storage.storage_plan import StoragePlan

    root, url = sys.argv[1:]
    directory = Path(root, "exp")
    directory.mkdir(parents=True)
    me = uuid.uuid4().hex
    storage = ExperimentStorage(directory, me, StoragePlan(root, Location(url)))
    storage.open(resume=False)
    storage.journal.append([JournalHeader(me, me, "exp", 0.0).encode()])
    storage.start()
    for number in range(10**9):
        storage.journal.append([b'{"n":%d}' % number])
        if number == 1000:
            assert storage.flush(60)
            print("shipped", flush=True)
"""


def test_a_process_that_is_really_killed(tmp_path: Path, s3_bucket: Bucket) -> None:
    environ = {**os.environ, **s3_bucket.endpoint.environ}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_CHILD), str(tmp_path / "lost"), s3_bucket.url],
        stdout=subprocess.PIPE,
        env=environ,
    )
    with process:
        assert process.stdout.readline() == b"shipped\n"
        process.send_signal(signal.SIGKILL)
    local = (tmp_path / "lost" / "exp" / "journal.jsonl").read_bytes()
    runs = Runs(tmp_path, Location(s3_bucket.url, s3_bucket.options))
    again = runs.open("elsewhere", resume=True)
    numbers = [record["n"] for record in records(again)]
    assert len(numbers) > 1000
    assert numbers == list(range(len(numbers)))
    found = (runs.directory("elsewhere") / "journal.jsonl").read_bytes()
    assert local.startswith(found[: found.rindex(b'{"journal"') - 9])
    again.close(10)


def test_the_users_own_sync_has_the_time_that_it_was_given(tmp_path: Path) -> None:
    copied = threading.Event()

    def copy(source: str, target: str) -> None:
        time.sleep(0.3)
        copied.set()

    runs = Runs(
        tmp_path, None, user_sync=make_user_sync(copy), user_target="there", period_s=3600.0
    )
    storage = runs.open()
    storage.start()
    assert storage.flush(0.05)
    assert copied.is_set()
    storage.close(10)
