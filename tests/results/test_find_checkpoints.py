"""The checkpoints of trials in results."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from prefect_tune.analysis import ExperimentAnalysis
from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.experiment.trial import TERMINATED, Trial, TrialTerms
from prefect_tune.filesystem.location import Location
from prefect_tune.result_grid import ResultGrid
from prefect_tune.results.find_checkpoints import find_checkpoints
from prefect_tune.trainable.runtime.saved_state import write_saved
from prefect_tune.trainable.tracked_checkpoint import open_tracked

LOSSES = (0.5, 0.25, math.nan, 0.75)


def saved(iteration: int, loss: float) -> TrialCheckpoint:
    metrics = {"training_iteration": iteration, "loss": loss, "nested": {"acc": 1 - loss}}
    return TrialCheckpoint(f"t/checkpoint_{iteration:06d}", Progress(iteration), metrics)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    trial = Trial(
        "t",
        {},
        relative_logdir="t",
        local_experiment_dir=str(tmp_path),
        terms=TrialTerms(open_checkpoint=open_tracked),
    )
    trial.status = TERMINATED
    trial.checkpoints = tuple(saved(n, loss) for n, loss in enumerate(LOSSES, start=1))
    metrics = trial.checkpoints[-1].metrics
    trial.update_last_result(metrics, {"loss": 0.75, "nested/acc": 0.25}, 1.0)
    return trial


@pytest.fixture
def analysis(trial: Trial, tmp_path: Path) -> ExperimentAnalysis:
    return ExperimentAnalysis(tmp_path, [trial], "loss", "min")


def test_the_best_and_the_last(analysis, trial, tmp_path):
    assert os.fspath(analysis.best_checkpoint) == str(tmp_path / "t/checkpoint_000002")
    worst = analysis.get_best_checkpoint(trial, "loss", "max")
    assert os.fspath(worst) == str(tmp_path / "t/checkpoint_000004")
    nested = analysis.get_best_checkpoint(trial, "nested/acc", "max")
    assert os.fspath(nested) == str(tmp_path / "t/checkpoint_000002")
    assert analysis.get_last_checkpoint() == worst
    assert analysis.get_last_checkpoint(trial) == worst


def test_paths_with_values(analysis, trial, tmp_path):
    paths = analysis.get_trial_checkpoints_paths(trial)
    assert [path for path, _ in paths] == [str(tmp_path / c.path) for c in trial.checkpoints]
    assert [str(value) for _, value in paths] == ["0.5", "0.25", "nan", "0.75"]
    by_age = analysis.get_trial_checkpoints_paths(trial, "training_iteration")
    assert [value for _, value in by_age] == [1, 2, 3, 4]


def test_a_trial_is_given_by_its_directory_or_id(analysis, trial):
    for named in (trial.logdir, f"{trial.logdir}/", Path(trial.logdir), trial.trial_id):
        assert analysis.get_best_checkpoint(named) == analysis.get_best_checkpoint(trial)
        assert analysis.get_last_checkpoint(named) == analysis.get_last_checkpoint(trial)
        paths = analysis.get_trial_checkpoints_paths(named)
        assert paths == analysis.get_trial_checkpoints_paths(trial)
    with pytest.raises(InvalidArgument, match=r"`trial`: .*'elsewhere'"):
        analysis.get_best_checkpoint("elsewhere")


def test_nothing_to_be_found(analysis, caplog):
    empty = Trial("u", {}, relative_logdir="u")
    assert analysis.get_best_checkpoint(empty) is None
    assert "has no checkpoint" in caplog.text
    assert analysis.get_last_checkpoint(empty) is None
    with pytest.raises(InvalidArgument, match="`mode`"):
        analysis.get_best_checkpoint(empty, "loss", "best")


def test_results_have_them(analysis, trial, tmp_path):
    result = ResultGrid(analysis)[0]
    assert os.fspath(result.checkpoint) == str(tmp_path / "t/checkpoint_000004")
    assert [metrics["training_iteration"] for _, metrics in result.best_checkpoints] == [1, 2, 3, 4]
    best = result.get_best_checkpoint("loss", "min")
    assert os.fspath(best) == str(tmp_path / "t/checkpoint_000002")
    assert result.get_best_checkpoint("unknown", "min") is None


def test_in_storage(trial, tmp_path):
    analysis = ExperimentAnalysis(
        tmp_path, [trial], "loss", "min", storage=Location("s3://bucket/exp", {"key": "k"})
    )
    assert analysis.best_checkpoint.path == "s3://bucket/exp/t/checkpoint_000002"
    trial.local_experiment_dir = str(tmp_path)
    assert trial.checkpoint.value == f"s3://bucket/exp/{trial.newest_checkpoint.path}"


@pytest.mark.parametrize(
    ("returned", "value"), [("model.pth", "model.pth"), (".", ""), (None, ""), ({"n": 1}, "")]
)
def test_value_is_what_a_class_said_it_had_saved(trial, tmp_path, returned, value):
    directory = tmp_path / trial.newest_checkpoint.path
    directory.mkdir(parents=True)
    write_saved(returned, directory, Progress(4), "Model")

    assert trial.checkpoint.value == os.path.join(directory, value).rstrip("/")
    assert trial.checkpoint.dir_or_data == str(directory)


def test_found_in_a_directory_that_was_moved(tmp_path):
    directory = tmp_path / "moved" / "train_abcde_00000_0_2026-01-01_00-00-00"
    results = [{"training_iteration": n, "loss": 1 / n, "trial_id": "x"} for n in (1, 2, 3)]
    for iteration in (1, 3):
        checkpoint = directory / f"checkpoint_{iteration:06d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model").write_text(str(iteration))
        write_manifest(checkpoint, Progress(iteration))
    (directory / "checkpoint_000002").mkdir()  # was never completed
    (directory / "result.json").write_text("".join(json.dumps(row) + "\n" for row in results))

    found = find_checkpoints(str(directory), results)
    (loaded,) = ExperimentAnalysis(tmp_path / "moved").trials

    assert [c.path for c in found] == [
        f"{directory.name}/checkpoint_000001",
        f"{directory.name}/checkpoint_000003",
    ]
    assert found[1].metrics["loss"] == 1 / 3
    assert loaded.checkpoints == tuple(found)
