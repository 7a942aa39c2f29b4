"""Whoever can write to the experiment directory cannot have a resume run code of theirs."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import prefect_tune as tune
from prefect_tune.config import TuneConfig
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.resume.callbacks import CALLBACKS_FILE
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.signing import KEY_VARIABLE, TRUST_VARIABLE
from prefect_tune.search import OptunaSearch
from prefect_tune.search.search_state import LATEST_STATE
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE

from .inline_executor import InlineExecutor, experiment, run


class Plant:
    """Makes a directory wherever it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


class Remembers(tune.Callback):
    def __init__(self, value: Any = None) -> None:
        self.value = value

    def get_state(self) -> dict[str, Any]:
        return {"value": self.value}

    def set_state(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


class Choice:
    def __init__(self, name: str) -> None:
        self.name = name


def another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "the key of somebody else")


def sweep(
    path: Path, samples: int = 3, callbacks: Any = (), space: Any = None
) -> RunningExperiment:
    config = TuneConfig(num_samples=samples)
    space = {"x": tune.uniform(0, 1)} if space is None else space
    return experiment(
        path, InlineExecutor(), config, space=space, resume="AUTO", callbacks=list(callbacks)
    )


def test_random_search_goes_on_for_another_user_as_if_it_were_the_same(
    tmp_path, monkeypatch, caplog
):
    run(sweep(tmp_path, callbacks=[Remembers({"plain": (1, 2)})]))
    another_user(monkeypatch)
    again = Remembers()
    one = sweep(tmp_path, 5, callbacks=[again])
    before = [trial.trial_id for trial in one.trials]
    run(one)
    assert [trial.trial_id for trial in one.trials][:3] == before
    assert len({trial.trial_id.partition("_")[0] for trial in one.trials}) == 1
    assert len(one.trials) == 5
    assert again.value == {"plain": (1, 2)}
    assert "snapshot" in caplog.text
    assert "not signed with this user's key" in caplog.text


def test_the_same_user_gets_everything_back(tmp_path, caplog):
    run(sweep(tmp_path, callbacks=[Remembers(len)], space={"x": tune.choice([Choice("a")])}))
    again = Remembers()
    one = sweep(tmp_path, 4, callbacks=[again], space={"x": tune.choice([Choice("a")])})
    assert again.value is len
    assert [trial.config["x"].name for trial in one.trials] == ["a"] * 3
    one.close()
    assert "signed" not in caplog.text


def test_planted_states_are_not_loaded(tmp_path, monkeypatch, caplog):
    planted = tmp_path / "planted"
    run(sweep(tmp_path, callbacks=[Remembers()]))
    state = cloudpickle.dumps(Plant(planted))
    name = f"{Remembers.__module__}.Remembers"
    for callbacks in ([(name, state)], [(name, state, "0" * 64)], Plant(planted)):
        (tmp_path / "e" / CALLBACKS_FILE).write_bytes(pickle.dumps(callbacks))
        sweep(tmp_path, callbacks=[Remembers()]).close()
    for file in (LATEST_STATE, SNAPSHOT_FILE):
        head, _, _ = (tmp_path / "e" / file).read_bytes().partition(b"\n")
        (tmp_path / "e" / file).write_bytes(head + b"\n" + state)
    sweep(tmp_path).close()
    assert not planted.exists()
    assert "the callback Remembers failed in set_state" in caplog.text.replace("The c", "the c")


def test_objects_in_a_configuration_need_the_key_or_trust(tmp_path, monkeypatch):
    space = {"x": tune.choice([Choice("a")])}
    run(sweep(tmp_path, space=space))
    another_user(monkeypatch)
    with pytest.raises(StorageError, match=f"{KEY_VARIABLE}.*{TRUST_VARIABLE}=1"):
        sweep(tmp_path, space=space)
    # The failed one still holds its lock here.
    shutil.copytree(tmp_path / "e", tmp_path / "copy" / "e")
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    one = sweep(tmp_path / "copy", space=space)
    assert [trial.config["x"].name for trial in one.trials] == ["a"] * 3
    one.close()


def test_a_searcher_of_another_user_is_asked_and_told_anew(tmp_path, monkeypatch, caplog):
    def searched(samples: int) -> RunningExperiment:
        config = TuneConfig(
            metric="loss", mode="min", num_samples=samples, search_alg=OptunaSearch(seed=1)
        )
        space = {"x": tune.uniform(0, 1)}
        return experiment(tmp_path, InlineExecutor(), config, space=space, resume="AUTO")

    run(searched(3))
    another_user(monkeypatch)
    one = searched(5)
    assert "The state of the search in" in caplog.text
    run(one)
    assert len(one.trials) == 5
