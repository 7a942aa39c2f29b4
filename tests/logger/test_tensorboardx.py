"""TensorBoard event files: tags, steps and the HParams view."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from prefect_tune.logger import TBXLoggerCallback
from prefect_tune.testing.logger import example_results, example_trial


def events(directory: str) -> list[Event]:
    found = []
    for path in sorted(Path(directory).glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[12 + size + 4 :]
    return found


def scalars(directory: str) -> list[tuple[int, dict[str, float]]]:
    drawn = []
    for event in events(directory):
        values = {v.tag: v.simple_value for v in event.summary.value if v.HasField("simple_value")}
        if values:
            drawn.append((event.step, values))
    return drawn


def log(tmp_path: Path, *results: dict[str, Any]) -> str:
    trial = example_trial(tmp_path)
    logger = TBXLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_results(0, trial, results)
    logger.log_trial_end(trial)
    return trial.logdir


def test_numbers_become_scalars_with_rays_tags(tmp_path: Path) -> None:
    [result] = example_results(example_trial(tmp_path), 1)
    [(step, values)] = scalars(log(tmp_path, result | {"text": "x", "flag": True, "none": None}))
    assert step == 1
    assert set(values) == {"ray/tune/loss", "ray/tune/val/loss", "ray/tune/val/top"}


def test_timesteps_are_the_axis_if_there_are_any(tmp_path: Path) -> None:
    directory = log(tmp_path, {"loss": 1.0, "training_iteration": 3, "timesteps_total": 4000})
    assert [step for step, _ in scalars(directory)] == [4000]


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    directory = log(
        tmp_path,
        {"loss": math.nan, "acc": 1.0, "training_iteration": 1},
        {"loss": 2.0, "acc": math.inf, "training_iteration": 2},
        {"loss": math.nan, "acc": math.nan, "training_iteration": 3},
        {"loss": 3.0, "acc": 10**400, "training_iteration": 4},
    )
    assert scalars(directory) == [
        (1, {"ray/tune/acc": 1.0}),
        (2, {"ray/tune/loss": 2.0}),
        (4, {"ray/tune/loss": 3.0}),
    ]


def test_a_metric_that_is_a_number_only_sometimes(tmp_path: Path) -> None:
    directory = log(
        tmp_path,
        {"loss": 1.0, "top": None, "training_iteration": 1},
        {"loss": 1.0, "top": 2, "training_iteration": 2},
        {"loss": 1.0, "top": "none", "training_iteration": 3},
    )
    assert [values.get("ray/tune/top") for _, values in scalars(directory)] == [None, 2.0, None]


def test_hparams_hold_the_configuration_and_the_metrics(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    directory = log(tmp_path, *example_results(trial, 2))
    plugin = [
        HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(directory)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]
    experiment, start, end = plugin
    assert {info.name.tag for info in experiment.experiment.metric_infos} >= {"ray/tune/loss"}
    assert start.session_start_info.hparams["lr"].number_value == 0.1
    assert start.session_start_info.hparams["net/act"].string_value == "relu"
    assert start.session_start_info.hparams["sizes"].string_value == "[1, 2]"
    assert end.HasField("session_end_info")


def test_each_attempt_has_its_own_file(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = TBXLoggerCallback()
    for _ in range(2):
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, example_results(trial, 1))
    logger.log_trial_end(trial)
    assert len(list(Path(trial.logdir).glob("events.out.tfevents.*"))) == 2
