"""What the HParams view of TensorBoard reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.api_pb2 import DataType, HParamInfo, Status
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

import prefect_tune as tune
from prefect_tune.logger import TBXLoggerCallback
from prefect_tune.logger.hparams import ViewDomain, view_domains, view_parameters
from prefect_tune.testing.logger import example_results, example_trial

from .test_tensorboardx import events


def hparams(directory: str) -> list[HParamsPluginData]:
    """What an event file says to the plugin."""
    return [
        HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(directory)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]


def infos(directory: str) -> dict[str, HParamInfo]:
    experiment, _, _ = hparams(directory)
    return {info.name: info for info in experiment.experiment.hparam_infos}


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        (tune.uniform(0.5, 2), (0.5, 2)),
        (tune.loguniform(1e-4, 1), (1e-4, 1)),
        (tune.quniform(0, 1, 0.25), (0, 1)),
        (tune.randint(1, 5), (1, 4)),
        (tune.qrandint(1, 11, 5), (5, 10)),
        (tune.choice(["relu", "tanh", "relu"]), ["relu", "tanh"]),
        (tune.choice([True, 1, None]), [True, 1]),
        (tune.grid_search([[1, 2], [3]]), ["[1, 2]", "[3]"]),
        (tune.grid_search(list(np.arange(2))), [0, 1]),
        (tune.grid_search(list(range(1000))), None),
        (tune.randn(), None),
        (tune.sample_from(lambda spec: 1), None),
        (tune.choice([tune.uniform(0, 1), 2]), None),
        (tune.choice([{"a": 1}, {"a": 2}]), None),
        (7, None),
    ],
)
def test_domains(given: Any, domain: ViewDomain | None) -> None:
    assert view_domains({"net": {"x": given}}) == ({} if domain is None else {"net/x": domain})


def test_parameters_are_flat_and_simple() -> None:
    config = {"a": {"b": np.float32(0.5)}, "l": [1], "n": None, "config": {"lr": 1}, "t": True}
    assert view_parameters(config) == {"a/b": 0.5, "l": "[1]", "config/lr": 1, "t": True}


def test_dicts_with_attributes_are_nested_like_any_other() -> None:
    class Settings(dict[str, Any]):
        """As in many scripts: whatever is no key raises a KeyError."""

        __getattr__ = dict.__getitem__

    config = Settings(net=Settings(units=3, deep=Settings(lr=0.5)))
    assert view_parameters(config) == {"net/units": 3, "net/deep/lr": 0.5}


def test_an_event_file_holds_them(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)  # lr=0.1, net/act=relu, ...
    trial.config = {"lr": 0.1, "net": {"act": "relu", "units": 8}, "on": True, "odd": 1}
    logger = TBXLoggerCallback()
    logger.set_search_space(
        {
            "lr": tune.uniform(0, 1),
            "net": {"act": tune.choice(["relu", "tanh"]), "units": tune.grid_search([8, 16])},
            "on": tune.choice([True, False]),
            "odd": tune.choice([1, "one"]),
        }
    )
    logger.log_trial_start(trial)
    logger.log_trial_results(0, trial, example_results(trial, 2))
    logger.log_trial_end(trial)
    logger.on_experiment_end([trial])
    known = infos(trial.logdir)
    lr = known["lr"]
    assert lr.type == DataType.Value("DATA_TYPE_FLOAT64")
    assert (lr.domain_interval.min_value, lr.domain_interval.max_value) == (0.0, 1.0)
    values = {
        name: list(info.domain_discrete)
        for name, info in known.items()
        if info.HasField("domain_discrete")
    }
    assert values == {"net/act": ["relu", "tanh"], "net/units": [8.0, 16.0], "on": [True, False]}
    assert known["odd"].WhichOneof("domain") is None


@pytest.mark.parametrize("failed", [True, False])
def test_whether_it_has_failed(tmp_path: Path, failed: bool) -> None:
    trial = example_trial(tmp_path)
    logger = TBXLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_results(0, trial, example_results(trial, 1))
    logger.log_trial_end(trial, failed=failed)
    logger.on_experiment_end([trial])
    (*_, end) = hparams(trial.logdir)
    name = "STATUS_FAILURE" if failed else "STATUS_SUCCESS"
    assert end.session_end_info.status == Status.Value(name)


def test_a_run_tells_its_space(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["lr"]})

    analysis = tune.run(
        train, config={"lr": tune.uniform(0, 1)}, storage_path=str(tmp_path), verbose=0
    )
    interval = infos(analysis.trials[0].logdir)["lr"].domain_interval
    assert (interval.min_value, interval.max_value) == (0.0, 1.0)


def test_parameters_that_are_no_unicode_are_escaped(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    trial.config = {"file": "caf\udce9", "k\ud800": 1}
    logger = TBXLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_result(0, trial, example_results(trial, 1)[0])
    logger.log_trial_end(trial)
    assert set(infos(trial.logdir)) == {"file", r"k\ud800"}
