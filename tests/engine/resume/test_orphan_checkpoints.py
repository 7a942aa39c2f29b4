"""Checkpoints that were complete when the process died that was to write that down."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_tune.checkpoint.manifest import MARKER, write_manifest
from prefect_tune.config import TuneConfig
from prefect_tune.coordinator.events import CheckpointSaved, ResultReported, Resumed
from prefect_tune.coordinator.records import decode_event
from prefect_tune.engine.resume.orphan_checkpoints import find_checkpoints
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.experiment.trial import TERMINATED
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.journal.header import parse_header
from tests.engine.inline_executor import InlineExecutor, experiment, run
from tests.engine.resume.test_resume import kill_at, records_of
from tests.storage.stores import DictStore

ONE = TuneConfig(num_samples=1)


def checkpoint(directory: Path, name: str, iteration: int, attempt: int = 1) -> Path:
    path = directory / name
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"1234")
    write_manifest(path, Progress(iteration), attempt=attempt)
    return path


def killed_behind_its_second_report(tmp_path: Path) -> Path:
    """A run of one trial; returns its directory."""
    one = experiment(tmp_path, InlineExecutor(), ONE)
    run(one)
    records = records_of(tmp_path / "e")
    reports = [number for number, record in enumerate(records) if b'"ResultReported"' in record]
    kill_at(tmp_path / "e", reports[1] + 1)
    return Path(one.trials[0].logdir)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("checkpoint_*"))


def events(path: Path) -> list[object]:
    return [decode_event(record) for record in records_of(path) if parse_header(record) is None]


def test_its_trial_goes_on_from_the_newest_whose_result_is_in_the_journal(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    checkpoint(directory, "checkpoint_000001", 1)
    checkpoint(directory, "checkpoint_000002", 2)
    checkpoint(directory, "checkpoint_000003", 3)  # the third report was never acknowledged
    executor = InlineExecutor()
    one = experiment(tmp_path, executor, ONE, resume=True)
    run(one)
    (launch,) = executor.launched
    assert launch.checkpoint == f"{directory.name}/checkpoint_000002"
    assert launch.progress.iteration == 2
    assert launch.attempt == 2
    assert names(directory) == ["checkpoint_000001", "checkpoint_000002"]
    kinds = [type(event) for event in events(tmp_path / "e")]
    assert kinds.count(CheckpointSaved) == 2
    assert max(i for i, kind in enumerate(kinds) if kind is CheckpointSaved) < kinds.index(Resumed)
    saved = [event for event in events(tmp_path / "e") if isinstance(event, CheckpointSaved)]
    results = [event for event in events(tmp_path / "e") if isinstance(event, ResultReported)]
    assert saved[1].metrics == results[1].results[0]
    assert one.trials[0].status == TERMINATED


def test_it_is_the_same_after_a_second_crash(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    checkpoint(directory, "checkpoint_000002", 2)
    run(experiment(tmp_path, InlineExecutor(), ONE, resume=True))
    records = records_of(tmp_path / "e")
    kill_at(tmp_path / "e", next(i for i, r in enumerate(records) if b'"Resumed"' in r) + 1)
    executor = InlineExecutor()
    run(experiment(tmp_path, executor, ONE, resume=True))
    assert executor.launched[0].checkpoint == f"{directory.name}/checkpoint_000002"
    kinds = [type(event) for event in events(tmp_path / "e")]
    assert kinds.count(CheckpointSaved) == 1


def test_what_may_be_the_users_stays_and_is_not_used(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    checkpoint(directory, "checkpoint_000002", 2, attempt=0)  # no attempt has written it
    checkpoint(directory, "checkpoint_000002_9", 2, attempt=9)  # nor has this one begun
    checkpoint(directory, "checkpoint_mine", 2)
    (checkpoint(directory, "checkpoint_000005", 2) / "weights").unlink()
    (checkpoint(directory, "checkpoint_000006", 2) / MARKER).write_text("?")
    before = names(directory)
    executor = InlineExecutor()
    run(experiment(tmp_path, executor, ONE, resume=True))
    assert executor.launched[0].checkpoint is None
    assert names(directory) == before


def test_what_an_earlier_attempt_left_is_of_no_use(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    run(experiment(tmp_path, InlineExecutor(), ONE, resume=True))
    records = records_of(tmp_path / "e")
    reports = [number for number, record in enumerate(records) if b'"ResultReported"' in record]
    kill_at(tmp_path / "e", reports[3] + 1)  # the second attempt has reported twice
    checkpoint(directory, "checkpoint_000002", 2, attempt=1)
    executor = InlineExecutor()
    run(experiment(tmp_path, executor, ONE, resume=True))
    assert executor.launched[0].checkpoint is None
    assert names(directory) == []


def test_what_the_user_starts_from_stays(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    path = checkpoint(directory, "checkpoint_000003", 3)
    one = experiment(tmp_path, InlineExecutor(), ONE, resume=True)
    one.close()
    live = one.coordinator.table.live_entries()[0]
    live.book.origin = TrialCheckpoint(str(path), Progress(3))
    found = find_checkpoints(one.coordinator.table, one.storage.checkpoints, [], 0.0)
    assert (found.to_record, found.to_delete) == ([], [])


def test_a_storage_that_is_away_does_not_keep_an_experiment_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed_behind_its_second_report(tmp_path)
    store = DictStore()
    store.go_away()
    away = property(lambda self: CheckpointStore(store))
    monkeypatch.setattr(ExperimentStorage, "checkpoints", away)
    executor = InlineExecutor()
    run(experiment(tmp_path, executor, ONE, resume=True))
    assert len(executor.launched) == 1
    assert "are not looked for" in caplog.text


def test_what_is_complete_here_and_not_in_storage_is_uploaded(tmp_path: Path) -> None:
    directory = killed_behind_its_second_report(tmp_path)
    checkpoint(directory, "checkpoint_000002", 2)
    checkpoint(directory, "checkpoint_000003", 3)  # the third report was never acknowledged
    one = experiment(tmp_path, InlineExecutor(), ONE, resume=True)
    table, records = one.coordinator.table, records_of(tmp_path / "e")
    one.close()
    there = CheckpointStore(DictStore())
    found = find_checkpoints(table, there, records, 1.0, tmp_path / "e")
    path = f"{directory.name}/checkpoint_000002"
    assert [saved.path for saved in found.to_record] == [path]
    assert found.to_delete == []
    assert there.is_complete(path)
    assert there.names(directory.name) == ["checkpoint_000002"]
    assert names(directory) == ["checkpoint_000002", "checkpoint_000003"]
