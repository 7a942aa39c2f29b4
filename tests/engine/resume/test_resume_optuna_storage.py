"""A study in a storage of its own, which knows more than the experiment that is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

import prefect_tune as tune
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.search import make_source
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.stopper import NoopStopper
from tests.engine.simulated_run import Disk, Killed, simulate

POINTS = [{"x": 0.25}]


def run(
    disk: Disk, sampler: BaseSampler | None = None, num_samples: int = 4, **options: Any
) -> list[Trial]:
    search = OptunaSearch(
        storage=url(disk.path),
        study_name="s",
        sampler=sampler or optuna.samplers.RandomSampler(seed=5),
        points_to_evaluate=POINTS,
    )
    return simulate(
        disk,
        make_source(search, {"x": tune.uniform(0, 1)}, num_samples, "loss", "min", seed=1),
        FIFOScheduler(),
        NoopStopper(),
        lambda config, attempt, step: (config["x"] + 1 / step, False),
        slots=1,
        iterations=2,
        **options,
    )


def url(directory: Path) -> str:
    return f"sqlite:///{directory}/study.db"


def stored(disk: Disk) -> list[tuple[TrialState, float, float | None, dict[int, float]]]:
    study = optuna.load_study(study_name="s", storage=url(disk.path))
    return [
        (trial.state, trial.params.get("x", -1.0), trial.value, trial.intermediate_values)
        for trial in study.trials
    ]


@pytest.mark.parametrize("snapshots", [None, 0.0])
def test_nothing_is_told_or_made_twice(snapshots):
    with Disk() as whole:
        expected = sorted(trial.config["x"] for trial in run(whole))
        known = stored(whole)
        writes = whole.writes
    assert [state for state, *_ in known] == [TrialState.COMPLETE] * 4
    assert 0.25 in expected
    for cut in range(3, writes, 9):
        with Disk() as disk:
            disk.kill_at = cut
            with pytest.raises(Killed):
                run(disk, snapshot_every_s=snapshots)
            disk.kill_at = None
            trials = run(disk, snapshot_every_s=snapshots)
            assert sorted(trial.config["x"] for trial in trials) == expected, cut
            assert stored(disk) == known, cut


@pytest.mark.filterwarnings("error:The reported value is ignored:UserWarning")
def test_a_sampler_that_learns_goes_on_as_if_it_had_never_stopped():
    def estimator() -> TPESampler:
        return TPESampler(seed=5, n_startup_trials=2)

    with Disk() as whole:
        expected = sorted(trial.config["x"] for trial in run(whole, estimator(), 6))
        known = stored(whole)
        writes = whole.writes
    assert len(set(expected)) == 6
    for cut in range(4, writes, 17):
        with Disk() as disk:
            disk.kill_at = cut
            with pytest.raises(Killed):
                run(disk, estimator(), 6)
            disk.kill_at = None
            trials = run(disk, estimator(), 6)
            assert sorted(trial.config["x"] for trial in trials) == expected, cut
            assert stored(disk) == known, cut


def test_another_search_in_the_same_study_is_left_alone():
    with Disk() as disk, Disk() as other:
        other_url = url(disk.path)
        run(disk)
        search = OptunaSearch(
            storage=other_url, study_name="s", sampler=optuna.samplers.RandomSampler(seed=6)
        )
        source = make_source(search, {"x": tune.uniform(0, 1)}, 2, "loss", "min", seed=1)
        simulate(
            other,
            source,
            FIFOScheduler(),
            NoopStopper(),
            lambda config, attempt, step: (config["x"], False),
            iterations=1,
        )
        states = [state for state, *_ in stored(disk)]
        assert states == [TrialState.COMPLETE] * 6
