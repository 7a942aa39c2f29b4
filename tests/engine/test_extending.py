"""Resuming with other arguments than before: what takes effect, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.config import FailureConfig, TuneConfig
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import TERMINATED
from prefect_tune.schedulers import ASHAScheduler
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.journal.header import parse_header

from .inline_executor import InlineExecutor, experiment, run

SPACE = {"x": tune.uniform(0, 1), "deep": {"y": tune.choice([1, 2])}}


def sweep(
    path: Path, config: TuneConfig, resume: Any = "AUTO", **options: Any
) -> RunningExperiment:
    options.setdefault("space", SPACE)
    return experiment(
        path, options.pop("executor", InlineExecutor()), config, resume=resume, **options
    )


def test_a_scheduler_that_got_its_metric_from_the_first_run_is_taken_again(tmp_path):
    scheduler = ASHAScheduler(max_t=9)

    def config(samples: int) -> TuneConfig:
        return TuneConfig(
            metric="loss", mode="min", num_samples=samples, scheduler=scheduler, seed=1
        )

    run(sweep(tmp_path, config(4)))
    run(sweep(tmp_path / "new", config(4), resume=None))
    one = sweep(tmp_path, config(6))
    run(one)
    assert len(one.trials) == 6
    assert scheduler.metric == "loss"


def test_a_refused_call_leaves_scheduler_and_searcher_as_they_were(tmp_path):
    scheduler, search = ASHAScheduler(max_t=9), OptunaSearch(seed=1)
    config = TuneConfig("loss", "min", search, scheduler, num_samples=3)
    with pytest.raises(InvalidArgument, match="`stop`"):
        sweep(tmp_path, config, stop=3)
    assert scheduler.metric is None
    run(one := sweep(tmp_path, config))
    assert len(one.trials) == 3


def test_a_searcher_that_got_its_space_from_the_first_run_is_taken_again(tmp_path):
    search = OptunaSearch(seed=1)

    def config(samples: int) -> TuneConfig:
        return TuneConfig(metric="loss", mode="min", num_samples=samples, search_alg=search)

    run(sweep(tmp_path, config(4)))
    one = sweep(tmp_path, config(6))
    run(one)
    assert len({trial.config["x"] for trial in one.trials}) == 6
    assert len(search.study.trials) == 6


def test_another_stop_holds_from_now_on(tmp_path, caplog):
    run(sweep(tmp_path, TuneConfig(num_samples=2), stop={"training_iteration": 1}))
    one = sweep(tmp_path, TuneConfig(num_samples=4), stop={"training_iteration": 2})
    run(one)
    assert [t.last_result["training_iteration"] for t in one.trials] == [1, 1, 2, 2]
    assert "`stop` was {'training_iteration': 1}, is {'training_iteration': 2}" in caplog.text
    assert "continues no finished trial" in caplog.text


def test_fewer_samples_than_there_are_trials(tmp_path, caplog):
    run(sweep(tmp_path, TuneConfig(num_samples=5)))
    one = sweep(tmp_path, TuneConfig(num_samples=3))
    run(one)
    assert len(one.trials) == 5
    assert "`num_samples` makes 3 trials, but the experiment has 5 already" in caplog.text


def differing(path: Path, caplog: Any, **options: Any) -> str:
    """The one warning about differences."""
    run(sweep(path, TuneConfig(num_samples=2, seed=1), **options.pop("first", {})))
    caplog.clear()
    config = TuneConfig(num_samples=3, seed=1, **options.pop("tune", {}))
    run(sweep(path, config, **options))
    found = [r.getMessage() for r in caplog.records if "with differences" in r.getMessage()]
    assert len(found) <= 1
    return found[0] if found else ""


def test_nothing_differs(tmp_path, caplog):
    assert differing(tmp_path, caplog, failure_config=FailureConfig(3), callbacks=[]) == ""


def test_the_space(tmp_path, caplog):
    space = {"x": tune.uniform(0, 2), "deep": {"z": 1}}
    text = differing(tmp_path, caplog, space=space)
    assert "x was Float(0, 1), is Float(0, 2)" in text
    assert "deep/y is gone" in text
    assert "deep/z is new" in text


def test_a_grid(tmp_path, caplog):
    first = {"space": {"a": tune.grid_search([1, 2])}}
    text = differing(tmp_path, caplog, first=first, space={"a": tune.grid_search([1, 2, 3])})
    assert "a was {'grid_search': [1, 2]}, is {'grid_search': [1, 2, 3]}" in text
    assert "of another grid some points may be left out or come twice" in text


def test_everything_is_in_one_warning(tmp_path, caplog, monkeypatch):
    def other(config: dict[str, Any]) -> None:
        """Another text."""

    other.__name__ = other.__qualname__ = "trainable"
    text = differing(
        tmp_path,
        caplog,
        function=other,
        space={"x": tune.uniform(0, 1)},
        tune={"metric": "loss", "mode": "min", "scheduler": "asha"},
        stop={"loss": 3},
    )
    for part in (
        "the scheduler was FIFOScheduler, is AsyncHyperBandScheduler",
        "the source of trainable has changed",
        "`metric` was None, is 'loss'",
        "`mode` was None, is 'min'",
        "deep/y is gone",
        "`stop` was None, is {'loss': 3}",
    ):
        assert part in text


def test_versions(tmp_path, caplog, monkeypatch):
    run(sweep(tmp_path, TuneConfig(num_samples=2)))
    monkeypatch.setattr("prefect_tune.engine.resume.last_run.__version__", "77.0")
    sweep(tmp_path, TuneConfig(num_samples=2)).close()
    assert "prefect_tune was " in caplog.text
    assert ", is 77.0" in caplog.text


def test_a_journal_of_before_says_nothing_about_arguments(tmp_path, caplog):
    """Headers without these fields are read, and nothing is held against them."""
    run(sweep(tmp_path, TuneConfig(num_samples=2)))
    journal = tmp_path / "e" / JOURNAL_FILE
    first = journal.read_bytes().splitlines()[0][9:]
    import orjson

    body = orjson.loads(first)
    for name in ("arguments", "space", "stop"):
        del body[name]
    header = parse_header(orjson.dumps(body))
    assert header is not None
    assert (header.arguments, header.space, header.stop) == ({}, None, "")


def test_new_resources_are_for_what_is_still_to_run(tmp_path):
    executor = InlineExecutor()
    executor.before_launch = lambda launch: (_ for _ in ()).throw(KeyboardInterrupt)
    one = sweep(tmp_path, TuneConfig(num_samples=2), executor=executor)
    with pytest.raises(KeyboardInterrupt):
        run(one)
    again = InlineExecutor()
    two = sweep(tmp_path, TuneConfig(num_samples=2), executor=again, resources={"cpu": 2})
    run(two)
    assert [launch.resources.get_milli("CPU") for launch in again.launched] == [2000, 2000]
    assert {trial.status for trial in two.trials} == {TERMINATED}
