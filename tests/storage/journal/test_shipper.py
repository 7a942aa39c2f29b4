from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from prefect_tune.error import StorageError
from prefect_tune.storage.journal import shipper as shippers
from prefect_tune.storage.journal.file import LocalJournal, encode_line
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.storage.journal.remote import read_remote
from prefect_tune.storage.journal.segments import Continuation, SegmentName
from prefect_tune.storage.journal.shipper import Shipment
from prefect_tune.storage.journal.uploader import Uploader
from tests.storage.stores import DictStore


@pytest.fixture
def store() -> DictStore:
    return DictStore()


@pytest.fixture
def journal(tmp_path: Path) -> LocalJournal:
    journal = LocalJournal(tmp_path / "journal.jsonl")
    journal.append([JournalHeader("a" * 32, "a" * 32, "exp", 0.0).encode()])
    return journal


@pytest.fixture
def shipment(store: DictStore, journal: LocalJournal) -> Shipment:
    return Shipment(store, journal.path, Continuation(1), "a" * 8)


def make_shipper(
    shipment: Shipment, target: str, period_s: float, cancelled: threading.Event | None = None
) -> Uploader:
    return Uploader(shipment, "the journal", target, period_s, retry_s=5.0, cancelled=cancelled)


def size(journal: LocalJournal) -> int:
    return journal.path.stat().st_size


def test_whole_lines_are_shipped(
    store: DictStore, journal: LocalJournal, shipment: Shipment
) -> None:
    whole = size(journal)
    with open(journal.path, "ab") as file:
        file.write(b"00000000 cut of")
    assert shipment.step()
    assert not shipment.step()
    assert shipment.position == whole
    assert read_remote(store).data == journal.path.read_bytes()[:whole]


def test_a_long_backlog_is_several_segments(
    store: DictStore, journal: LocalJournal, shipment: Shipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shippers, "SEGMENT_SIZE", 1000)
    journal.append([b'"%s"' % (b"x" * 300)] * 10)
    journal.append([b'"%s"' % (b"y" * 5000)])  # longer than a segment
    while shipment.step():
        pass
    assert len(store.files) > 4
    assert read_remote(store).data == journal.path.read_bytes()


def test_days_of_segments_become_few(
    store: DictStore, journal: LocalJournal, shipment: Shipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shippers, "MERGED", 8)
    for number in range(700):
        journal.append([b'{"n":%d}' % number])
        shipment.step()
        while shipment.merge():
            pass
    assert len(store.files) < 40
    assert read_remote(store).data == journal.path.read_bytes()


def test_a_missing_segment_ends_what_is_used(
    store: DictStore, journal: LocalJournal, shipment: Shipment
) -> None:
    for number in range(3):
        journal.append([b'{"n":%d}' % number])
        shipment.step()
    whole = read_remote(store).data
    del store.files[SegmentName(1, 1, 1, "a" * 8).path]
    found = read_remote(store)
    assert whole.startswith(found.data)
    assert b'"n":0' in found.data
    assert b'"n":1' not in found.data
    assert "0001-00000001-aaaaaaaa.jsonl is missing" in found.problem


@pytest.mark.parametrize("place", [3, 20, -3])
def test_a_flipped_byte_ends_what_is_used(
    store: DictStore, journal: LocalJournal, shipment: Shipment, place: int
) -> None:
    for number in range(3):
        journal.append([b'{"n":%d}' % number])
        shipment.step()
    path = SegmentName(1, 1, 1, "a" * 8).path
    damaged = bytearray(store.files[path])
    damaged[place] ^= 1
    store.files[path] = bytes(damaged)
    found = read_remote(store)
    assert b'"n":0' in found.data
    assert b'"n":1' not in found.data
    assert "0001-00000001" in found.problem


def test_a_newer_format_is_refused(store: DictStore) -> None:
    store.files[SegmentName(1, 0, 1, "a" * 8).path] = encode_line(b'{"segment":99}')
    with pytest.raises(StorageError, match=r"format 99.*Update prefect_tune"):
        read_remote(store)


def test_files_of_others_are_passed_over(
    store: DictStore, journal: LocalJournal, shipment: Shipment
) -> None:
    shipment.step()
    store.files["journal/notes.txt"] = b"mine"
    store.files["journal/0001-abc.jsonl"] = b"mine"
    assert read_remote(store).data == journal.path.read_bytes()


def test_it_follows_by_itself(store: DictStore, journal: LocalJournal, shipment: Shipment) -> None:
    shipper = make_shipper(shipment, "memory://x", 0.01)
    shipper.start()
    journal.append([b'{"n":1}'])
    assert store.wait_until(lambda: shipment.position == size(journal))
    shipper.stop()


def test_what_comes_while_a_segment_is_sent_waits_for_the_next_look(
    store: DictStore, journal: LocalJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    segments: list[int] = []

    class Shipped(Shipment):
        def merge(self) -> bool:
            segments.append(len(store.writes))
            looked.set()
            return False

    def write(rel: str, data: bytes) -> None:
        DictStore.write(store, rel, data)
        if len(store.writes) < 5:
            journal.append([b'{"n":%d}' % len(store.writes)])

    monkeypatch.setattr(store, "write", write)
    shipment = Shipped(store, journal.path, Continuation(1), "a" * 8)
    shipper = make_shipper(shipment, "x", 3600)
    shipper.start()
    assert looked.wait(30)
    assert segments == [1]
    assert shipment.unshipped > 0
    assert shipper.flush(30) is None
    shipper.stop()


def test_while_the_storage_is_away(
    store: DictStore,
    journal: LocalJournal,
    shipment: Shipment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.go_away()
    shipper = Uploader(shipment, "the journal", "s3://bucket/exp", 0.01, retry_s=0.01)
    with caplog.at_level(logging.INFO):
        shipper.start()
        journal.append([b'{"n":1}'])
        assert shipper.flush(0.2) is not None
        store.come_back()
        assert shipper.flush(30) is None
    shipper.stop()
    assert read_remote(store).data == journal.path.read_bytes()
    texts = [record.getMessage() for record in caplog.records]
    assert (
        len([text for text in texts if "The journal cannot be copied to s3://bucket/exp" in text])
        == 1
    )
    assert len([text for text in texts if "has caught up after" in text]) == 1


def test_waiting_ends_with_the_thread(
    store: DictStore, journal: LocalJournal, shipment: Shipment
) -> None:
    store.go_away()
    cancelled = threading.Event()
    shipper = make_shipper(shipment, "x", 0.01, cancelled)
    shipper.start()
    cancelled.set()
    assert shipper.flush(60) is not None


def test_several_that_wait_do_not_make_it_ask_a_storage_that_is_away_all_the_time(
    store: DictStore, journal: LocalJournal
) -> None:
    tries = []

    class Tried(Shipment):
        def step(self) -> bool:
            tries.append(1)
            return super().step()

    store.go_away()
    shipper = make_shipper(Tried(store, journal.path, Continuation(1), "a" * 8), "x", 0.01)
    waiting = [threading.Thread(target=shipper.flush, args=(0.6,)) for _ in range(4)]
    shipper.start()
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    # At its start, at most once for each that came, and twice a second besides.
    assert len(tries) <= 10
    store.come_back()
    assert shipper.flush(30) is None
    shipper.stop()
