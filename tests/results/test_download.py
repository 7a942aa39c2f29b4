from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome, TrialSuggested
from prefect_tune.coordinator.records import encode_event
from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.resources import Resources
from prefect_tune.results import ExperimentAnalysis, ResultGrid
from prefect_tune.storage.journal.file import encode_line
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.storage.journal.segments import NEW_RUN, Segment, SegmentName


@pytest.fixture
def location() -> Location:
    return Location(f"memory://{uuid.uuid4().hex}/experiment")


@pytest.fixture
def store(location: Location) -> Store:
    return open_store(location)


def add_trial(store: Store, number: int, scores: list[float], error: str = "") -> str:
    trial_id = f"abcde_{number:05d}"
    name = f"train_{trial_id}_{number}_x={number}_2026-01-01_00-00-00"
    rows = [
        {
            "score": score,
            "training_iteration": iteration,
            "timestamp": 1000.0 + iteration,
            "trial_id": trial_id,
            "experiment_tag": f"{number}_x={number}",
        }
        for iteration, score in enumerate(scores, 1)
    ]
    store.write(f"{name}/params.json", json.dumps({"x": number}).encode())
    store.write(f"{name}/result.json", "".join(json.dumps(row) + "\n" for row in rows).encode())
    if error:
        store.write(f"{name}/error.txt", error.encode())
    return name


def add_journal(store: Store, fates: dict[str, str]) -> None:
    records = [JournalHeader("a" * 32, "a" * 32, "experiment", 0.0, "train").encode()]
    for directory, fate in fates.items():
        trial_id = directory[6:17]
        error = AttemptError("ValueError", "at last")
        outcome = Outcome.FAILED if fate == "failed" else Outcome.FINISHED
        events = [
            TrialSuggested(0.0, trial_id, {}, {}, "1_x=1", Resources.parse(None), directory),
            AttemptEnded(1.0, trial_id, 1, Outcome.FAILED, error, Fate.RETRIED),
            AttemptEnded(2.0, trial_id, 2, outcome, error, Fate(fate)),
        ]
        records += map(encode_event, events)
    name = SegmentName(1, 0, 1, "a" * 8)
    segment = Segment(name, NEW_RUN, 0, b"".join(map(encode_line, records)))
    store.write(name.path, segment.encode())


def test_results_of_a_url(store: Store, location: Location) -> None:
    add_trial(store, 1, [1.0, 2.0])
    add_trial(store, 2, [1.0, 3.0])
    store.write("tuner.pkl", b"not looked at")
    analysis = ExperimentAnalysis(location.url, default_metric="score", default_mode="max")
    assert [trial.trial_id for trial in analysis.trials] == ["abcde_00001", "abcde_00002"]
    assert analysis.best_config == {"x": 2}
    assert analysis.experiment_path == location.url
    assert len(analysis.trial_dataframes) == 2
    grid = ResultGrid(analysis)
    assert grid.get_best_result().metrics["score"] == 3.0
    assert grid.num_errors == 0


def test_checkpoints_are_left_where_they_are(
    store: Store, location: Location, tmp_path: Path
) -> None:
    name = add_trial(store, 1, [1.0, 2.0])
    (tmp_path / "model").write_bytes(b"weights")
    write_manifest(tmp_path, Progress(2))
    store.put_tree(tmp_path, f"{name}/checkpoint_000002")
    store.write(f"{name}/checkpoint_000003/model", b"never complete")
    analysis = ExperimentAnalysis(location.url, default_metric="score", default_mode="max")
    (trial,) = analysis.trials
    assert [checkpoint.path for checkpoint in trial.checkpoints] == [f"{name}/checkpoint_000002"]
    assert not list(Path(trial.logdir).rglob("model"))
    checkpoint = analysis.best_checkpoint
    assert checkpoint is not None
    with checkpoint.as_directory() as directory:
        assert (Path(directory) / "model").read_bytes() == b"weights"


def test_the_journal_knows_what_became_of_a_trial(store: Store, location: Location) -> None:
    first = add_trial(store, 1, [1.0, 2.0], "ValueError: once")
    second = add_trial(store, 2, [1.0, 2.0], "ValueError: at last")
    add_journal(store, {first: "terminated", second: "failed"})
    grid = ResultGrid(ExperimentAnalysis(location.url))
    assert [trial.status for trial in grid.analysis.trials] == ["TERMINATED", "ERROR"]
    assert "at last" in str(grid.errors[0])


def test_the_copy_is_removed(store: Store, location: Location) -> None:
    add_trial(store, 1, [1.0])
    analysis = ExperimentAnalysis(location.url)
    directory = Path(analysis.trials[0].logdir)
    assert directory.is_dir()
    del analysis
    assert not directory.exists()


def test_nothing_there(location: Location) -> None:
    with pytest.raises(StorageError, match=location.url):
        ExperimentAnalysis(location.url)


def test_no_place_at_all() -> None:
    with pytest.raises(InvalidArgument, match="experiment_checkpoint_path"):
        ExperimentAnalysis("nothing://x")


def test_a_directory_that_was_copied_to_a_store(store: Store, location: Location) -> None:
    name = add_trial(store, 1, [1.0], "ValueError: once")
    header = JournalHeader("a", "a", "experiment", 0.0, arguments={"`metric`": "'score'"}).encode()
    events = [
        TrialSuggested(0.0, "abcde_00001", {}, {}, "1_x=1", Resources.parse(None), name),
        AttemptEnded(1.0, "abcde_00001", 1, Outcome.FINISHED, None, Fate.TERMINATED),
    ]
    lines = map(encode_line, [header, *map(encode_event, events)])
    store.write("journal.jsonl", b"".join(lines))
    analysis = ExperimentAnalysis(location.url)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"]
    assert analysis.default_metric == "score"
