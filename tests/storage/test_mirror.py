from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

import pytest

from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.error import StorageError
from prefect_tune.filesystem.location import Location
from prefect_tune.storage import mirror as mirrors
from prefect_tune.storage.fetch import MARK_FILE, UploadMark, changed_at
from prefect_tune.storage.journal.uploader import Upload, Uploader
from prefect_tune.storage.mirror import ChangedFiles

from .stores import DictStore


@pytest.fixture
def store() -> DictStore:
    return DictStore()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("tuner.pkl", "trial_1/result.json", "trial_1/deep/er/note", "trial_2/stdout"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    return tmp_path


def test_what_is_copied(store: DictStore, directory: Path) -> None:
    for name in (
        ".lock",
        ".prefect_tune_experiment",
        "journal.jsonl",
        ".tuner.pkl.tmp",
        "trial_1/.result.json.tmp-12345678",
        "trial_1/.checkpoint_000002.tmp-1/model",
        "trial_1/checkpoint_000001/model",
    ):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not copied")
    write_manifest(directory / "trial_1" / "checkpoint_000001")
    os.mkfifo(directory / "trial_1" / "pipe")
    ChangedFiles(directory, store)()
    assert sorted(store.files) == [
        "trial_1/deep/er/note",
        "trial_1/result.json",
        "trial_2/stdout",
        "tuner.pkl",
    ]


def test_only_what_has_changed_is_copied_again(store: DictStore, directory: Path) -> None:
    upload = ChangedFiles(directory, store)
    upload()
    store.writes.clear()
    upload()
    assert store.writes == []
    with open(directory / "trial_1" / "result.json", "ab") as file:
        file.write(b"2")
    (directory / "trial_3").mkdir()
    (directory / "trial_3" / "error.txt").write_bytes(b"")
    upload()
    assert sorted(store.writes) == ["trial_1/result.json", "trial_3/error.txt"]
    assert store.files["trial_1/result.json"] == b"12"


def let_time_pass(directory: Path) -> None:
    """Until the file system's clock, which ticks slowly, is behind the last change."""
    latest = max(changed_at(path.stat()) for path in directory.rglob("*"))
    probe = directory / "probe"
    probe.touch()
    while probe.stat().st_mtime_ns <= latest:
        probe.touch()
    probe.unlink()


def test_a_resumed_run_does_not_copy_everything_again(store: DictStore, directory: Path) -> None:
    let_time_pass(directory)
    ChangedFiles(directory, store)()
    store.writes.clear()
    (directory / "trial_2" / "stdout").write_bytes(b"longer")
    ChangedFiles(directory, store, compare=True)()
    # Files at the top may have changed without a change of size.
    assert sorted(store.writes) == ["trial_2/stdout", "tuner.pkl"]
    assert MARK_FILE not in store.files


def test_what_changed_but_kept_its_size_is_copied_after_a_resume(
    store: DictStore, directory: Path
) -> None:
    (directory / "trial_1" / "written before").write_bytes(b"2")
    let_time_pass(directory)
    ChangedFiles(directory, store)()
    (directory / "trial_2" / "stdout").write_bytes(b"2")
    (directory / "trial_1" / "written before").replace(directory / "trial_1" / "result.json")
    ChangedFiles(directory, store, compare=True)()
    assert store.files["trial_2/stdout"] == b"2"
    assert store.files["trial_1/result.json"] == b"2"
    assert store.writes.count("trial_1/deep/er/note") == 1


def test_after_a_copy_that_failed_what_came_before_it_counts_as_changed(
    store: DictStore, directory: Path
) -> None:
    let_time_pass(directory)
    upload = ChangedFiles(directory, store)
    upload()
    (directory / "trial_2" / "stdout").write_bytes(b"2")
    store.go_away()
    with pytest.raises(StorageError):
        upload()
    store.come_back()
    ChangedFiles(directory, store, compare=True)()
    assert store.files["trial_2/stdout"] == b"2"


def test_what_another_place_has_says_nothing(store: DictStore, directory: Path) -> None:
    ChangedFiles(directory, store)()
    other = DictStore()
    other.location = Location("memory://other")
    other.files.update(dict.fromkeys(store.files, b"x"))
    let_time_pass(directory)
    mark = UploadMark(directory, store.location.url)
    mark.begin()
    mark.complete()
    ChangedFiles(directory, other, compare=True)()
    assert other.files == store.files


def test_states_wait_for_the_journal(store: DictStore, directory: Path) -> None:
    safe = [False]
    upload = ChangedFiles(directory, store, lambda: safe[0])
    with pytest.raises(StorageError, match="journal has not been uploaded yet"):
        upload()
    assert "tuner.pkl" not in store.files
    assert "trial_1/result.json" in store.files
    safe[0] = True
    upload()
    assert "tuner.pkl" in store.files


def test_a_state_is_the_one_from_before_the_journal_was_safe(
    store: DictStore, directory: Path
) -> None:
    def journal_is_safe() -> bool:
        # The run goes on meanwhile, and saves a state of a journal that is longer.
        (directory / "tuner.pkl").write_bytes(b"newer")
        return True

    upload = ChangedFiles(directory, store, journal_is_safe)
    upload()
    assert store.files["tuner.pkl"] == b"1"
    upload()
    assert store.files["tuner.pkl"] == b"newer"


def test_a_snapshot_comes_after_what_it_refers_to(store: DictStore, directory: Path) -> None:
    (directory / "snapshot.pkl").write_bytes(b"s")
    (directory / "snapshot_trials.pkl").write_bytes(b"t")
    ChangedFiles(directory, store)()
    order = [store.writes.index(name) for name in ("snapshot_trials.pkl", "snapshot.pkl")]
    assert order == sorted(order)
    assert order[0] > max(store.writes.index(name) for name in store.files if "/" in name)


def test_a_snapshot_waits_for_results_that_nobody_would_log_again(
    store: DictStore, directory: Path
) -> None:
    (directory / "snapshot.pkl").write_bytes(b"s")
    put, away = store.put_file, {"trial_1/result.json"}

    def put_unless_away(local, rel: str) -> None:
        if rel in away:
            raise StorageError(f"cannot write {rel}.")
        put(local, rel)

    store.put_file = put_unless_away
    upload = ChangedFiles(directory, store)
    with pytest.raises(StorageError, match=r"trial_1/result\.json"):
        upload()
    assert "tuner.pkl" in store.files
    assert "snapshot.pkl" not in store.files
    away.clear()
    upload()
    assert {"snapshot.pkl", "trial_1/result.json"} <= store.files.keys()


def test_one_file_that_cannot_be_read_does_not_keep_the_others(
    store: DictStore, directory: Path
) -> None:
    put = store.put_file

    def fail_for_one(local, rel: str) -> None:
        if rel == "trial_1/result.json":
            raise StorageError("cannot read trial_1/result.json.")
        put(local, rel)

    store.put_file = fail_for_one
    with pytest.raises(StorageError, match=r"trial_1/result\.json"):
        ChangedFiles(directory, store)()
    assert "trial_2/stdout" in store.files
    assert "trial_1/deep/er/note" in store.files


def make_mirror(upload: Upload, target: str, period_s: float) -> Uploader:
    first_s = min(2.0, period_s)
    return Uploader(upload, "results and logs", target, period_s, first_s=first_s)


def test_it_copies_from_time_to_time_and_when_asked(store: DictStore, directory: Path) -> None:
    mirror = make_mirror(ChangedFiles(directory, store), "memory://x", 0.01)
    mirror.start()
    assert store.wait_until(lambda: "tuner.pkl" in store.files)
    (directory / "late").write_bytes(b"1")
    assert mirror.flush(30) is None
    assert "late" in store.files
    mirror.stop()


def test_failures_are_told_once_and_caught_up(
    store: DictStore, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.go_away()
    mirror = make_mirror(ChangedFiles(directory, store), "s3://bucket/exp", 3600)
    with caplog.at_level(logging.INFO):
        mirror.start()
        assert "away" in str(mirror.flush(30))
        assert "away" in str(mirror.flush(30))
        store.come_back()
        assert mirror.flush(30) is None
    mirror.stop()
    texts = [record.getMessage() for record in caplog.records]
    assert (
        len(
            [
                text
                for text in texts
                if "Results and logs cannot be copied to s3://bucket/exp" in text
            ]
        )
        == 1
    )
    assert len([text for text in texts if "has caught up" in text]) == 1


def test_a_bug_does_not_end_the_thread(directory: Path, store: DictStore) -> None:
    upload = ChangedFiles(directory, store)
    turns = []

    def fail_once(on_progress: object) -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ZeroDivisionError
        upload()

    mirror = make_mirror(fail_once, "x", 3600)
    mirror.start()
    assert "ZeroDivisionError" in str(mirror.flush(30))
    assert mirror.flush(30) is None
    mirror.stop()


def test_flush_is_bounded(directory: Path) -> None:
    import threading

    release = threading.Event()
    mirror = make_mirror(lambda on_progress: release.wait(60), "x", 0.01)
    mirror.start()
    assert "not done in time" in str(mirror.flush(0.1))
    release.set()
    mirror.stop()


def test_each_batch_is_seen_by_those_who_wait(
    store: DictStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "_BATCH", 4)
    monkeypatch.setattr(mirrors, "_BATCH_BYTES", 100)
    trial = tmp_path / "trial_1"
    trial.mkdir()
    for number in range(8):
        (trial / f"small_{number}").write_bytes(b"1")
        (trial / f"u_large_{number}").write_bytes(b"1" * 99)
    there = [0]
    ChangedFiles(tmp_path, store)(lambda: there.append(len(store.files)))
    assert there[-1] == 16
    assert len(there) > 8  # never two large ones in a batch
    assert all(after - before <= 4 for before, after in itertools.pairwise(there))


def test_a_state_that_is_refused_keeps_no_file_of_a_trial(
    store: DictStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(rel: str, data: bytes) -> None:
        if rel == "tuner.pkl":
            raise StorageError("cannot write tuner.pkl.")
        DictStore.write(store, rel, data)

    monkeypatch.setattr(store, "write", refuse)
    with pytest.raises(StorageError, match="tuner"):
        ChangedFiles(directory, store)()
    assert "trial_2/stdout" in store.files
