"""What makes two sweeps the same, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.engine.setup.request import ExperimentRequest, identify
from prefect_tune.schedulers import ASHAScheduler
from prefect_tune.search import ConcurrencyLimiter


def train(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"]}


def request(run: dict[str, Any] | None = None, **tune_config: Any) -> ExperimentRequest:
    return ExperimentRequest(
        train,
        {"x": tune.uniform(0, 1)},
        TuneConfig(**{"metric": "loss", "mode": "min", "num_samples": 4, **tune_config}),
        RunConfig(**(run or {})),
    )


def parts(asked: ExperimentRequest) -> dict[str, str]:
    return dict(identify(asked, "train", None).parts)


def changed(other: ExperimentRequest, one: ExperimentRequest | None = None) -> list[str]:
    before = parts(one or request())
    return [what for what, digest in parts(other).items() if digest != before[what]]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(request(), param_space={"x": tune.uniform(0, 2)}), "the search space"),
        (replace(request(), trainable=lambda config: {"loss": 0}), "the trainable"),
        (request(metric="score"), "the metric"),
        (request(mode="max"), "the metric"),
        (request(num_samples=5), "`num_samples`"),
        (request(seed=1), "`seed`"),
        (request(scheduler=ASHAScheduler(max_t=10)), "`scheduler`"),
        (request({"stop": {"training_iteration": 3}}), "`stop`"),
        (replace(request(), restore="/checkpoint"), "`restore`"),
    ],
)
def test_another_question_is_another_sweep(other: ExperimentRequest, what: str) -> None:
    assert changed(other) == [what]


def test_parts_are_told_apart_by_what_they_were_made_of() -> None:
    def asha(max_t: int) -> ExperimentRequest:
        return request(scheduler=ASHAScheduler(max_t=max_t, grace_period=1))

    assert changed(asha(10), asha(100)) == ["`scheduler`"]
    assert changed(asha(10), asha(10)) == []


def test_spaces_and_seeds_of_a_searcher_count() -> None:
    pytest.importorskip("optuna")
    from prefect_tune.search.optuna import OptunaSearch

    def optuna(high: float, seed: int | None = None) -> ExperimentRequest:
        searcher = OptunaSearch({"x": tune.uniform(0, high)}, seed=seed)
        return request(search_alg=ConcurrencyLimiter(searcher, max_concurrent=2))

    assert changed(optuna(1), optuna(2)) == ["`search_alg`"]
    assert changed(optuna(1, seed=1), optuna(1, seed=2)) == ["`search_alg`"]
    assert changed(optuna(1), optuna(1)) == []


def test_what_a_part_has_taken_over_from_its_sweep_does_not_count() -> None:
    scheduler = ASHAScheduler(max_t=10)
    before = parts(request(scheduler=scheduler))
    scheduler.set_search_properties("loss", "min")
    assert parts(request(scheduler=scheduler)) == before


def test_limits_and_observers_do_not_count(tmp_path: Any) -> None:
    run = {"callbacks": [tune.Callback()], "storage_path": str(tmp_path), "verbose": 0}
    other = request(run, time_budget_s=3, max_concurrent_trials=1)
    assert changed(replace(other, resources_per_trial={"cpu": 2})) == []
