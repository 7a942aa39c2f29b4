"""Whole sweeps: real processes, a real Dask cluster, no Prefect."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import math
import os
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.error import TrialFailed
from prefect_tune.schedulers import ASHAScheduler

from . import trainables


def test_a_sweep_finds_the_best_and_leaves_a_readable_directory(sweep, tmp_path):
    analysis = sweep(
        trainables.quadratic,
        config={"x": tune.grid_search([0.0, 0.25, 0.5, 1.0]), "constant": "c"},
        metric="score",
        mode="max",
        name="first",
    )
    assert analysis.best_config == {"x": 0.25, "constant": "c"}
    trials = analysis.trials
    assert [trial.status for trial in trials] == ["TERMINATED"] * 4
    assert all(trial.last_result["training_iteration"] == 10 for trial in trials)
    for trial in trials:
        with open(os.path.join(trial.logdir, "result.json")) as file:
            rows = [json.loads(line) for line in file]
        assert [row["training_iteration"] for row in rows] == list(range(1, 11))
        assert rows[0]["config"] == trial.config
        assert rows[0]["trial_id"] == trial.trial_id
        with open(os.path.join(trial.logdir, "params.json")) as file:
            assert json.load(file) == trial.config
        with open(os.path.join(trial.logdir, "progress.csv")) as file:
            assert len(file.readlines()) == 11
    again = tune.ExperimentAnalysis(
        str(tmp_path / "first"), default_metric="score", default_mode="max"
    )
    assert again.best_config == analysis.best_config


def test_every_result_carries_the_metrics_of_the_callbacks_guide(sweep):
    analysis = sweep(trainables.quadratic, config={"x": 1.0})
    result = analysis.trials[0].last_result
    for name in (
        "config date done episodes_total experiment_id experiment_tag hostname "
        "iterations_since_restore node_ip pid time_since_restore time_this_iter_s time_total_s "
        "timestamp timesteps_since_restore timesteps_total training_iteration trial_id"
    ).split():
        assert name in result, name
    assert result["config"] == {"x": 1.0}
    assert result["done"] is True


@pytest.mark.parametrize(
    ("function", "metric", "value"),
    [(trainables.countdown, "loss", 1), (trainables.one_number, "_metric", 6)],
)
def test_yield_and_return_report_too(sweep, function, metric, value):
    analysis = sweep(function, config={"x": 3}, metric=metric, mode="min")
    assert analysis.best_result[metric] == value


def test_a_stopped_trial_ends_at_that_report_and_cleans_up(sweep):
    analysis = sweep(trainables.cleans_up, config={}, stop={"step": 7})
    trial = analysis.trials[0]
    assert trial.status == "TERMINATED"
    assert trial.last_result["step"] == 7
    with open(os.path.join(trial.logdir, "cleaned")) as file:
        assert file.read() == "7"


def test_asha_stops_bad_trials_early(sweep):
    analysis = sweep(
        trainables.quadratic,
        config={"x": tune.uniform(0, 1)},
        num_samples=16,
        scheduler=ASHAScheduler(metric="score", mode="max", max_t=10, reduction_factor=2),
        seed=3,
    )
    iterations = [trial.last_result["training_iteration"] for trial in analysis.trials]
    assert len(iterations) == 16
    assert min(iterations) < 10
    assert max(iterations) == 10


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "a telling message"),
        ("exit", "3"),
        ("segfault", "SIGSEGV"),
        ("killed", "SIGKILL"),
    ],
)
def test_a_crash_is_this_trials_error_only(sweep, how, told):
    analysis = sweep(
        trainables.breaks,
        config={"how": tune.grid_search([how, "well"])},
        raise_on_failed_trial=False,
    )
    bad, good = sorted(analysis.trials, key=lambda trial: trial.config["how"] == "well")
    assert (bad.status, good.status) == ("ERROR", "TERMINATED")
    assert told in bad.error_msg
    assert bad.last_result["x"] == 1.0
    if how == "exit":
        assert "Last lines of stderr:\nabout to leave" in bad.error_msg
    with open(os.path.join(bad.logdir, "error.txt")) as file:
        assert told in file.read()


def test_failed_trials_are_raised_at_the_end_by_default(sweep):
    with pytest.raises(TrialFailed, match="1 of 2 trials failed"):
        sweep(trainables.breaks, config={"how": tune.grid_search(["raise", "well"])})


def test_fail_fast_raise_raises_the_trials_own_exception(sweep):
    with pytest.raises(KeyError, match="a telling message"):
        sweep(trainables.breaks, config={"how": "raise"}, fail_fast="raise")


def test_a_failed_trial_is_retried(sweep):
    analysis = sweep(trainables.fails_once, config={}, max_failures=1)
    trial = analysis.trials[0]
    assert trial.status == "TERMINATED"
    assert trial.attempt == 2
    assert trial.num_failures == 1


def test_concurrency_follows_from_the_resources(sweep):
    analysis = sweep(trainables.sleeps, config={}, num_samples=6, resources_per_trial={"cpu": 2})
    spans = [(t.last_result["begin"], t.last_result["end"]) for t in analysis.trials]
    for begin, _ in spans:
        assert sum(b <= begin < e for b, e in spans) <= 2


def test_max_concurrent_trials(sweep):
    analysis = sweep(trainables.sleeps, config={}, num_samples=4, max_concurrent_trials=1)
    spans = sorted((t.last_result["begin"], t.last_result["end"]) for t in analysis.trials)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_devices_and_threads_follow_from_the_request(sweep):
    analysis = sweep(
        trainables.environment,
        config={},
        num_samples=4,
        resources_per_trial={"cpu": 2, "gpu": 1},
        env_vars={"MY_OWN": "1"},
    )
    seen = [trial.last_result["env"] for trial in analysis.trials]
    assert {env["CUDA_VISIBLE_DEVICES"] for env in seen} <= {"0", "1"}
    assert {env["OMP_NUM_THREADS"] for env in seen} == {"2"}
    assert {env["MY_OWN"] for env in seen} == {"1"}
    assert [t.last_result["cwd"] for t in analysis.trials] == [t.logdir for t in analysis.trials]
    without = sweep(trainables.environment, config={})
    assert without.trials[0].last_result["env"]["CUDA_VISIBLE_DEVICES"] == ""


def test_threads_instead_of_processes(sweep):
    analysis = sweep(
        trainables.quadratic,
        config={"x": tune.grid_search([0.0, 0.3])},
        metric="score",
        mode="max",
        isolation="thread",
    )
    assert analysis.best_config == {"x": 0.3}
    assert {trial.last_result["pid"] for trial in analysis.trials} == {os.getpid()}


def test_a_nan_metric_is_accepted_and_never_best(sweep):
    analysis = sweep(
        trainables.nan_or_number,
        config={"x": tune.grid_search([0, 1, 2])},
        metric="acc",
        mode="min",
    )
    assert analysis.best_config == {"x": 1}
    assert any(math.isnan(trial.last_result["acc"]) for trial in analysis.trials)


def test_a_time_budget_ends_an_endless_search(sweep):
    analysis = sweep(trainables.sleeps, config={"seconds": 0.05}, num_samples=-1, time_budget_s=1.5)
    assert len(analysis.trials) >= 4
    # The search was a little ahead: what it had suggested last may not have begun.
    for trial in analysis.trials:
        assert trial.status == ("TERMINATED" if trial.last_result else "PENDING")


class _AllEnd(tune.Stopper):
    """Ends the sweep at the first result behind a request."""

    def __init__(self):
        self.requested = self._ends = False

    def __call__(self, trial_id, result):
        self._ends = self.requested
        return False

    def stop_all(self):
        return self._ends


def test_trials_that_had_not_begun_when_all_was_stopped_are_pending_everywhere(sweep, capsys):
    told = []
    stopper = _AllEnd()

    class Spy(tune.Callback):
        def on_step_end(self, iteration, trials, **info):
            stopper.requested = len(trials) == 3

        def on_trial_complete(self, iteration, trials, trial, **info):
            told.append(trial.trial_id)

    analysis = sweep(
        trainables.hang,
        config={"how": "reports"},
        num_samples=3,
        resources_per_trial={"cpu": 4},
        stop=stopper,
        callbacks=[Spy()],
        verbose=1,
    )
    known = [trial.status for trial in analysis.trials]
    assert known == ["TERMINATED", "PENDING", "PENDING"]
    read_back = tune.ExperimentAnalysis(analysis.experiment_path)
    assert [trial.status for trial in read_back.trials] == known
    assert told == [analysis.trials[0].trial_id]
    assert "trials: 3/3 (2 PENDING, 1 TERMINATED)" in capsys.readouterr().out


def test_callbacks_are_called_in_order(sweep):
    calls = []

    class Spy(tune.Callback):
        def setup(self, **info):
            calls.append("setup")

        def on_trial_start(self, iteration, trials, trial, **info):
            calls.append("start")

        def on_trial_result(self, iteration, trials, trial, result, **info):
            calls.append(result["loss"])

        def on_trial_complete(self, iteration, trials, trial, **info):
            calls.append("complete")

        def on_experiment_end(self, trials, **info):
            calls.append("end")

    sweep(trainables.countdown, config={}, callbacks=[Spy()])
    assert calls == ["setup", "start", 5, 4, 3, 2, 1, "complete", "end"]


def test_the_tuner_keeps_failed_trials_in_its_grid(cluster, tmp_path):
    grid = tune.Tuner(
        trainables.breaks,
        param_space={"how": tune.grid_search(["raise", "well"])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), orchestrate=False, verbose=0),
    ).fit()
    assert len(grid) == 2
    assert grid.num_errors == 1
    assert grid.get_best_result("x", "max").metrics["x"] == 1.0


def test_a_user_is_told_once_why_trials_start_more_slowly(sweep, tmp_path, monkeypatch, caplog):
    file = tmp_path / "sample_slow_start.py"
    train = "import prefect_tune as tune\ndef train(config): tune.report({'score': 1})\n"
    file.write_text(train)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("sample_slow_start")
    # Only the process that starts trials sees this: the cluster runs in the one of the test.
    file.write_text(f"import sys, types\nsys.modules['jax'] = types.ModuleType('jax')\n{train}")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    analysis = sweep(module.train, num_samples=2)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
    told = [record.getMessage() for record in caplog.records if "spawn" in record.getMessage()]
    assert len(told) == 1
    assert "jax is imported" in told[0]
    assert "start_method='fork'" in told[0]
