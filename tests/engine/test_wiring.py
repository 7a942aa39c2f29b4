"""Names of trials and their directories, as users make them up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.wiring import TrialMaker
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial, TrialTerms
from prefect_tune.resources import Resources
from prefect_tune.search.source import Suggestion
from prefect_tune.storage.layout import TrialDirNamer

NOON = 1_770_000_000.0


def make(directory: Path, **creators: Any) -> Any:
    maker = TrialMaker(
        CoordinatorOptions("train", str(directory), terms=TrialTerms(max_failures=2)),
        lambda config: Resources.of(CPU=1),
        TrialDirNamer(directory),
        **creators,
    )
    return maker(Suggestion("c0ffe_00000", {"lr": 0.1}, {"lr": 0.1}, 0, "0_lr=0.1"), NOON)


def test_creators_see_the_trial(tmp_path):
    event = make(
        tmp_path,
        name_creator=lambda trial: f"{trial.trainable_name}-{trial.config['lr']}",
        dirname_creator=lambda trial: f"{trial}_in_{trial.trial_id}",
    )
    assert event.custom_name == "train-0.1"
    assert event.relative_logdir == "train-0.1_in_c0ffe_00000"


def test_creators_see_the_terms_of_the_experiment(tmp_path):
    event = make(tmp_path, name_creator=lambda trial: f"{trial.max_failures} more")
    assert event.custom_name == "2 more"


@pytest.mark.parametrize("creator", ["name_creator", "dirname_creator"])
@pytest.mark.parametrize("value", [None, 3, "", b"x"])
def test_what_is_no_name_is_an_error(tmp_path, creator, value):
    with pytest.raises(InvalidArgument, match=f"trial_{creator}`: it returned"):
        make(tmp_path, **{creator: lambda trial: value})


@pytest.mark.parametrize("creator", ["name_creator", "dirname_creator"])
def test_a_creator_that_raises_is_named(tmp_path, creator):
    with pytest.raises(InvalidArgument, match=f"trial_{creator}`: it raised KeyError .*'wd'"):
        make(tmp_path, **{creator: lambda trial: trial.config["wd"]})


@pytest.mark.parametrize("name", ["a/b", "..", " ", "x" * 300, "é" * 130])
def test_what_is_no_directory_is_an_error(tmp_path, name):
    with pytest.raises(InvalidArgument, match="trial_dirname_creator"):
        make(tmp_path, dirname_creator=lambda trial: name)


@pytest.mark.parametrize(
    ("env", "name"), [("Pong-v0", "train_Pong-v0_t1"), (dict, "train_dict_t1"), (3, "train_t1")]
)
def test_the_environment_in_a_config_is_part_of_the_name(env, name):
    assert str(Trial("t1", {"env": env}, trainable_name="train")) == name


def test_the_last_five_and_ten_values_of_each_metric():
    trial = Trial("t1", {})
    for value in range(12):
        trial.update_last_result({"x": value}, {"x": value}, 1.0)
    assert {n: list(values) for n, values in trial.metric_n_steps["x"].items()} == {
        "5": [7, 8, 9, 10, 11],
        "10": list(range(2, 12)),
    }
