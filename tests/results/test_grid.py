"""`ResultGrid` and `Result`."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.analysis import ExperimentAnalysis
from prefect_tune.error import TrialFailed
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.filesystem.location import Location
from prefect_tune.logger import JsonLoggerCallback
from prefect_tune.result_grid import ResultGrid
from prefect_tune.results import Result


def make_trial(number: int, score: float | None, directory: str = "/exp") -> Trial:
    trial = Trial(
        f"c0ffe_{number:05d}",
        {"lr": number},
        relative_logdir=f"t{number}",
        local_experiment_dir=directory,
    )
    if score is not None:
        result = {"score": score, "training_iteration": 1, "trial_id": trial.trial_id}
        trial.update_last_result(result, result, 0.0)
    trial.status = TERMINATED
    return trial


def grid(*scores: float | None, **options: Any) -> ResultGrid:
    trials = [make_trial(number, score) for number, score in enumerate(scores)]
    return ResultGrid(ExperimentAnalysis("/exp", trials, **options))


def test_a_sequence_of_results() -> None:
    results = grid(1.0, 2.0, None)
    assert len(results) == 3
    assert [result.config for result in results] == [{"lr": 0}, {"lr": 1}, {"lr": 2}]
    assert results[1].metrics["score"] == 2.0
    assert results[-1].metrics == {}
    assert [result.config for result in results[1:]] == [{"lr": 1}, {"lr": 2}]
    assert (results[0].path, results[0].log_dir) == ("/exp/t0", Path("/exp/t0"))
    assert results.experiment_path == "/exp"
    with pytest.raises(IndexError):
        results[3]


def test_some_of_the_trials_as_a_grid() -> None:
    results = grid(1.0, 3.0, 2.0, default_metric="score", default_mode="max")
    whole = results._experiment_analysis  # as scripts for Ray Tune 2 get at the trials
    some = ExperimentAnalysis(
        whole.experiment_path,
        trials=[trial for trial in whole.trials if trial.config["lr"] != 1],
        default_metric=whole.default_metric,
        default_mode=whole.default_mode,
    )
    assert ResultGrid(some).get_best_result().config == {"lr": 2}


def test_the_best_result() -> None:
    results = grid(1.0, 3.0, 2.0, default_metric="score", default_mode="max")
    assert results.get_best_result().config == {"lr": 1}
    assert results.get_best_result(mode="min").config == {"lr": 0}
    assert results.get_best_result("training_iteration", "max", scope="all").config == {"lr": 0}


def test_of_one_trial_no_metric_is_needed() -> None:
    assert grid(None).get_best_result().config == {"lr": 0}


def test_no_metric_and_no_best() -> None:
    with pytest.raises(ValueError, match="metric"):
        grid(1.0, 2.0).get_best_result()
    with pytest.raises(ValueError, match="mode"):
        grid(1.0, 2.0).get_best_result("score")
    with pytest.raises(RuntimeError, match=r"No best trial found.*'loss'"):
        grid(1.0, 2.0).get_best_result("loss", "min")
    with pytest.raises(RuntimeError, match="'score'"):
        grid(None, None, default_metric="score", default_mode="max").get_best_result()


def test_errors() -> None:
    trials = [make_trial(number, 1.0) for number in range(4)]
    for trial in trials[1:]:
        trial.status = ERROR
    trials[1].error = AttemptError("ValueError", "no", pickled=pickle.dumps(ValueError("no")))
    trials[2].error = AttemptError("exit", "exit code 3", traceback="last words", exit_code=3)
    trials[3].error = AttemptError("KeyError", "x", pickled=b"not a pickle")
    results = ResultGrid(ExperimentAnalysis("/exp", trials))
    assert (results.num_errors, results.num_terminated) == (3, 1)
    first, second, third = results.errors
    assert isinstance(first, ValueError)
    assert isinstance(second, TrialFailed)
    assert "last words" in str(second)
    assert "KeyError: x" in str(third)
    assert results[0].error is None


def test_an_error_of_an_earlier_attempt_does_not_count() -> None:
    trial = make_trial(0, 1.0)
    trial.error = AttemptError("ValueError", "no")
    assert Result.of(trial, Location("")).error is None


def test_frames(tmp_path: Path) -> None:
    trial = make_trial(0, 1.0, str(tmp_path))
    logger = JsonLoggerCallback()
    for score in (3.0, 1.0):
        logger.log_trial_result(0, trial, {"score": score, "training_iteration": 1})
    logger.on_experiment_end([trial])
    results = ResultGrid(ExperimentAnalysis(tmp_path, [trial]))
    frame = results[0].metrics_dataframe
    assert frame is not None
    assert frame["score"].tolist() == [3.0, 1.0]
    assert results.get_dataframe()["score"].tolist() == [1.0]
    assert results.get_dataframe("score", "max")["score"].tolist() == [3.0]
    assert grid(None)[0].metrics_dataframe is None


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'prefect-tune\[pandas\]'"):
        grid(1.0).get_dataframe()
