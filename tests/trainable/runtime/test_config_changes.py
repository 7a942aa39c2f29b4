"""What user code changes in its configuration is in its results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.trainable.runtime.config_changes import (
    ConfigChanges,
    complete,
    copy_of_containers,
)

CONFIG = {"lr": 0.1, "n": {"deep": [1, {"a": 2}]}, "model": object(), "sizes": list(range(1000))}


def changes(change):
    config = copy_of_containers(CONFIG)
    watched = ConfigChanges(config)
    assert watched.entries(config) == {}
    change(config)
    return watched.entries(config)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.update(lr=0.1), {}),
        (lambda c: c.update(lr=1), {"lr": 1}),
        (lambda c: c.update(new=None), {"new": None}),
        (lambda c: c["n"]["deep"][1].update(a=3), {"n": {"deep": [1, {"a": 3}]}}),
        (lambda c: c["n"]["deep"].append(4), {"n": {"deep": [1, {"a": 2}, 4]}}),
        (lambda c: c["n"].update(deep=[1, {"a": 2}]), {}),
        (lambda c: c.pop("lr"), {}),
        (lambda c: c.update(path=Path("a"), k=np.int64(3)), {"path": Path("a"), "k": np.int64(3)}),
    ],
)
def test_added_and_changed_entries(change, found):
    assert changes(change) == found


@pytest.mark.parametrize(
    "large", [object(), np.zeros(3), [0] * 1000, "x" * 10_000, {"deep": [np.zeros(3)]}]
)
def test_what_every_report_would_have_to_carry_is_left_out(large):
    assert changes(lambda c: c.update(large=large)) == {}


def test_dicts_of_other_classes_stay_what_they_are():
    class Attributes(dict):
        __getattr__ = dict.__getitem__

    assert copy_of_containers({"net": Attributes(size=3)})["net"].size == 3


def test_results_keep_the_other_entries_as_the_objects_they_are():
    result = {"loss": 1, "config": {"lr": 2}}
    complete(result, {"config": CONFIG, "pid": 5})
    assert result == {"loss": 1, "pid": 5, "config": {**CONFIG, "lr": 2}}
    assert CONFIG["lr"] == 0.1
    plain = {"loss": 1}
    complete(plain, {"config": CONFIG})
    assert plain["config"] is CONFIG


class TakesOut(tune.Trainable):
    def setup(self, config):
        self.data = config.pop("data")
        config["ours"] = 1
        self.config["seen"] = sorted(self.config)

    def step(self):
        return {"loss": 1, "done": True}


def takes_out(config):
    config["seen"] = sorted(config)
    del config["data"]
    tune.report({"loss": 1})


@pytest.mark.parametrize("trainable", [TakesOut, takes_out])
def test_in_results_callbacks_and_files_but_not_in_the_trial(trainable, tmp_path):
    class Look(tune.Callback):
        seen: list

        def on_trial_result(self, iteration, trials, trial, result, **info):
            Look.seen = [result["config"], dict(trial.config)]

    tuner = tune.Tuner(
        trainable,
        param_space={"data": "d", "lr": tune.grid_search([3])},
        run_config=tune.RunConfig(
            name="e", storage_path=str(tmp_path), callbacks=[Look()], verbose=0
        ),
    )
    expected = {"data": "d", "lr": 3, "seen": ["data", "lr"]}

    result = tuner.fit()[0]

    assert result.config == result.metrics["config"] == expected
    assert Look.seen == [expected, {"data": "d", "lr": 3}]
    (line,) = Path(result.path, "result.json").read_text().splitlines()
    assert line.count('"config"') == 1
    assert json.loads(line)["config"] == expected
    assert tune.Tuner.restore(str(tmp_path / "e"), trainable).get_results()[0].config == expected
    assert tune.ExperimentAnalysis(
        tmp_path / "e", default_metric="loss", default_mode="min"
    ).best_config == {"data": "d", "lr": 3}
