"""Sources that a search can learn from."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from prefect_tune import WarmStart, tune
from prefect_tune.error import InvalidArgument
from prefect_tune.results.evaluated import read_evaluated


def train(config):
    return {"loss": (config["n"]["x"] - 1) ** 2, "sub": {"acc": 1.0}}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return tune.run(
        train,
        config={"n": {"x": tune.grid_search([0, 2, 5])}, "k": 1},
        metric="loss",
        mode="min",
        storage_path=tmp_path_factory.mktemp("earlier"),
        orchestrate=False,
        verbose=0,
    )


EXPECTED = [({"n/x": 0, "k": 1}, 1), ({"n/x": 2, "k": 1}, 1), ({"n/x": 5, "k": 1}, 16)]


def found(*sources, metric="loss"):
    evaluated = read_evaluated(sources, metric)
    return sorted(((c, v) for c, v in evaluated), key=lambda one: one[0]["n/x"])


def test_experiments_by_directory_or_object(experiment, tmp_path):
    assert found(experiment.experiment_path) == EXPECTED
    assert found(experiment) == EXPECTED
    assert found(WarmStart(experiment, metric="sub/acc"))[0] == ({"n/x": 0, "k": 1}, 1.0)


def test_a_directory_of_ray_tune(tmp_path):
    for number, x in enumerate([0, 2]):
        trial = tmp_path / f"train_abcde_0000{number}_{number}_x={x}_2026-01-01_00-00-00"
        trial.mkdir()
        (trial / "params.json").write_text(json.dumps({"n": {"x": x}}))
        result = {"loss": x, "training_iteration": 1, "trial_id": f"abcde_0000{number}"}
        (trial / "result.json").write_text(json.dumps(result) + "\n")
    assert found(tmp_path) == [({"n/x": 0}, 0), ({"n/x": 2}, 2)]


def test_tables(experiment, tmp_path):
    frame = pd.DataFrame({"config/n/x": [0, 2], "params_k": ["a", "b"], "loss": [1.5, None]})
    assert found(frame) == [({"n/x": 0, "k": "a", "loss": 1.5}, 1.5)]
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert found(tmp_path / "table.csv") == [({"n/x": 0, "k": "a", "loss": 1.5}, 1.5)]
    assert found([{"n/x": 1, "loss": 2}]) == [({"n/x": 1, "loss": 2}, 2)]


def test_names_are_mapped(tmp_path):
    source = WarmStart([{"rate": 0.1, "score": 2}], metric="score", names={"rate": "n/x"})
    assert found(source) == [({"n/x": 0.1, "score": 2}, 2)]


def test_an_optuna_study_by_url(tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=url, study_name="one")
    study.optimize(lambda trial: trial.suggest_float("n/x", 0, 1), n_trials=2)
    assert [value for _, value in found(url)] == sorted(t.params["n/x"] for t in study.trials)
    assert found(study) == found(url)
    optuna.create_study(storage=url, study_name="two")
    with pytest.raises(InvalidArgument, match=r"has 2 studies: one, two.*study_name"):
        found(url)
    assert found(WarmStart(url, study_name="one")) == found(study)


@pytest.mark.parametrize(
    ("sources", "metric", "problem"),
    [
        (["/nowhere"], "loss", r"'/nowhere' cannot be read"),
        (["/nowhere.csv"], "loss", r"'/nowhere.csv' cannot be read"),
        ([[{"n/x": 1}]], "loss", r"has a value of loss"),
        ([[{"n/x": 1, "loss": 1}]], None, r"which metric"),
        ([3], "loss", r"cannot learn from 3"),
        ([[1, 2]], "loss", r"1 is no row"),
    ],
)
def test_what_cannot_be_read_is_named(sources, metric, problem):
    with pytest.raises(InvalidArgument, match=f"`warm_start_from`.*{problem}"):
        read_evaluated(sources, metric)


def test_a_sweep_learns_from_an_earlier_one(experiment, tmp_path):
    from prefect_tune.search import OptunaSearch

    searcher = OptunaSearch(seed=1)
    tune.run(
        train,
        config={"n": {"x": tune.uniform(0, 3)}},
        metric="loss",
        mode="min",
        search_alg=searcher,
        warm_start_from=[experiment.experiment_path],
        num_samples=1,
        storage_path=tmp_path,
        orchestrate=False,
        verbose=0,
    )
    assert [trial.params["n/x"] for trial in searcher.study.trials[:2]] == [0, 2]
    assert len(searcher.study.trials) == 3
