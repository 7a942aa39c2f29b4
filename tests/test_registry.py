"""Trainables by name."""

from __future__ import annotations

import pytest

import prefect_tune as tune
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.registry import get_env, get_trainable, register_trainable
from prefect_tune.settings import TuneSettings


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    monkeypatch.setattr("prefect_tune.registry._trainables", {})


def train(config): ...


def test_a_later_registration_wins():
    register_trainable("train", lambda config: 1)
    tune.register_trainable("train", train)
    assert get_trainable("train") is train


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    register_trainable("train", train)
    with pytest.raises(InvalidTrainable, match=r"'trian' \(registered: train\)"):
        get_trainable("trian")


@pytest.mark.parametrize(("name", "trainable"), [("", train), (3, train), ("x", 3), ("x", "y")])
def test_what_cannot_be_registered(name, trainable):
    with pytest.raises(InvalidTrainable):
        register_trainable(name, trainable)


def test_trials_and_directory_of_a_registered_trainable_have_its_name_without_a_date():
    register_trainable("by name", tune.with_resources(train, {"cpu": 2}))
    setup = make_setup(ExperimentRequest("by name"), TuneSettings())
    assert setup.name == "by name"
    assert setup.trainable.name == "by name"
    assert dict(setup.resources) == {"CPU": 2.0}


def test_environments_by_name():
    tune.register_env("pole", dict)
    assert get_env("pole") is dict
    with pytest.raises(TypeError, match="not callable"):
        tune.register_env("pole", 3)
    with pytest.raises(InvalidArgument, match="no environment is registered as 'pile'"):
        get_env("pile")
