"""Checkpoints of attempts on a real in-process Dask cluster, with storage that the node shares."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.checkpoint.manifest import verify, write_manifest
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.trainable.runtime.attempt_session import current_session
from tests.execution.checkpointing import restored_step, train
from tests.execution.experiments import Experiment, make_env


@pytest.fixture(scope="module", autouse=True)
def cluster():
    tune.init(num_cpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def experiment(tmp_path):
    def experiment(trainable, **options):
        return Experiment(DaskExecutor(connect()), make_env(trainable, tmp_path, **options))

    return experiment


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_checkpoint_in_place_follows_its_result(experiment, isolation):
    with experiment(train, isolation=isolation) as run:
        run.launch("a", {"n": 3})
        end = run.until_ended("a")
    assert (end.outcome, end.uploading) == (Outcome.FINISHED, 0)
    events = [event for event in run.seen if getattr(event, "trial_id", None) == "a"]
    steps = []
    for event in events:
        if isinstance(event, ResultReported):
            steps += [("result", result["x"]) for result in event.results]
        elif isinstance(event, CheckpointSaved):
            assert event.path == f"trial_a/checkpoint_{event.metrics['x']:06d}"
            steps.append(("checkpoint", event.metrics["x"]))
    assert steps == [(what, x) for x in (1, 2, 3) for what in ("result", "checkpoint")]
    assert (type(events[0]), type(events[-1])) == (AttemptStarted, AttemptEnded)
    assert not verify(Path(run.env.experiment_dir) / "trial_a" / "checkpoint_000003")


def test_an_attempt_goes_on_from_a_checkpoint_in_place(experiment):
    def look(config):
        context = current_session().context
        return {"step": restored_step(), "uri": context.checkpoint_uri}

    with experiment(look) as run:
        directory = Path(run.env.experiment_dir)
        _make_checkpoint(directory / "trial_b" / "checkpoint_000007", 7)
        results, _ = run.run("a", checkpoint="trial_b/checkpoint_000007")
        assert results[0]["step"] == 7
        assert results[0]["uri"] == str(directory / "trial_b" / "checkpoint_000007")
        elsewhere = _make_checkpoint(directory.with_name("elsewhere"), 8)
        results, _ = run.run("b", checkpoint=str(elsewhere))
        assert (results[0]["step"], results[0]["uri"]) == (8, str(elsewhere))


def test_a_damaged_checkpoint_fails_the_attempt_before_it_starts(experiment):
    with experiment(train) as run:
        checkpoint = Path(run.env.experiment_dir) / "trial_a" / "checkpoint_000007"
        _make_checkpoint(checkpoint, 7)
        (checkpoint / "step.json").write_text("7 8")
        _, end = run.run("a", {"n": 1}, checkpoint="trial_a/checkpoint_000007")
        assert (end.outcome, end.error.kind) == (Outcome.FAILED, "restore")
        assert f"{checkpoint} cannot be used: step.json has 3 bytes" in end.error.message
        shutil.rmtree(checkpoint)
        _, end = run.run("b", {"n": 1}, checkpoint="trial_a/checkpoint_000007")
        assert end.error.kind == "restore"
        assert AttemptStarted not in {type(event) for event in run.seen}


def _make_checkpoint(directory: Path, step: int) -> Path:
    directory.mkdir(parents=True)
    (directory / "step.json").write_text(str(step))
    write_manifest(directory, Progress(step))
    assert not verify(directory)
    return directory
