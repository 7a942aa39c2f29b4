"""Every argument of `run` and `Tuner`, given what cannot work: an error that names it, at once."""

from __future__ import annotations

import datetime
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig
from prefect_tune.schedulers import ASHAScheduler
from prefect_tune.stopper import MaximumIterationStopper
from tests.parameter_ids import stable_repr

NAN = float("nan")


class Thing:
    """Nothing in particular."""


def contain_themselves() -> list[dict[str, Any]]:
    direct: dict[str, Any] = {}
    direct["a"] = direct
    values: list[Any] = [1]
    values.append({"b": (values,)})
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    return [direct, {"x": values}, {"x": tune.choice([values])}, deep]


#: Argument of `run` -> what it cannot be.
WRONG: dict[str, list[Any]] = {
    "run_or_experiment": [None, 3, "not registered", Thing, Thing(), [], lambda: None],
    "name": [
        3,
        "",
        " ",
        "/a",
        "a/",
        "a/../b",
        ".",
        "..",
        b"x",
        "a\0b",
        "é" * 130,
        "a\ud800",
        "a\udcff",
    ],
    "metric": [3, "", " ", [], ["a", 3], {}],
    "mode": ["maximise", 3, ["min", "x"]],
    "stop": [
        3,
        "x",
        Thing,
        [Thing()],
        MaximumIterationStopper,
        {"a": "b"},
        {"a": None},
        {"a": NAN},
        {3: 4},
        {"a": {"b": 1}},
        lambda: True,
    ],
    "time_budget_s": [0, -1, "1h", NAN, float("inf"), [1], True, datetime.timedelta(0)],
    "trial_time_limit_s": [0, -1, "1h", NAN, float("inf"), [1], True, datetime.timedelta(0)],
    "config": [3, [1], "x", Thing(), *contain_themselves(), {"a": [threading.Lock()]}],
    "resources_per_trial": [3, "x", {"cpu": -1}, {"cpu": "x"}, {"gpu": NAN}, [], {3: 1}],
    "num_samples": [0, -2, 1.5, "3", None, True],
    "local_dir": [3, "", " ", [], "s3://bucket", "/a\0b", "file://host/x"],
    "storage_path": [
        3,
        "",
        " ",
        [],
        "nosuch://x",
        "file://host/x",
        "local://host/x",
        "file://",
        "/a\0b",
        "/a\ud800",
        "s3://a\0b/c",
        "memory://a\udcff",
    ],
    "search_alg": ["nosuch", 3, Thing(), Thing],
    "warm_start_from": [3, "/no/such/experiment", [Thing()], Thing],
    "scheduler": ["nosuch", 3, Thing(), Thing, ASHAScheduler],
    "keep_checkpoints_num": [0, -1, "x", 1.5],
    "checkpoint_score_attr": [3, "", []],
    "checkpoint_freq": [-1, "x", 1.5, None],
    "checkpoint_at_end": ["x", 3],
    "verbose": [-1, 9, "x", 1.5],
    "trial_name_creator": [3, "x"],
    "trial_dirname_creator": [3, "x"],
    "sync_config": [3, "x", Thing()],
    "max_failures": [-2, 1.5, "x", None],
    "fail_fast": ["x", 3, None],
    "restore": [3, "/no/such/checkpoint"],
    "resume": ["x", 3, []],
    "reuse_actors": ["x", 3],
    "raise_on_failed_trial": ["x", 3, None],
    "callbacks": [3, [3], [Thing()], [Callback], Callback()],
    "max_concurrent_trials": [-1, 1.5, "x"],
    "storage_filesystem": [3, "x"],
    "checkpoint_config": [3, {}, RunConfig()],
    "resume_config": [3, {}],
    "orchestrate": ["x", 3],
    "isolation": ["x", 3, None],
    "seed": ["x", 1.5, -1],
    "env_vars": [3, [], {"a": 1}, {1: "a"}, {"a=b": "x"}, {"": "x"}, {"a": "x\0"}, {"a": "\ud800"}],
    "chdir_to_trial_dir": ["x", 3],
}
#: Checked where they are used; see the tests of reporters, of clusters, and of trainables' exports.
ELSEWHERE = {"cluster", "export_formats", "log_to_file", "loggers", "progress_reporter"}
CASES = [(argument, value) for argument, values in WRONG.items() for value in values]


def train(config: dict[str, Any]) -> None:
    """Never called."""
    raise AssertionError("a trial was started")


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever gets as far as connecting to a cluster has accepted the arguments."""

    def connect(*args: Any, **options: Any) -> None:
        raise AssertionError("the arguments were accepted")

    monkeypatch.setattr("prefect_tune.execution.cluster.api.connect", connect)
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")


def run(arguments: dict[str, Any]) -> None:
    tune.run(**{"run_or_experiment": train, "config": {"x": 1}, "verbose": 0, **arguments})


@pytest.mark.parametrize(
    ("argument", "value"), CASES, ids=[f"{a}={stable_repr(v):.40}" for a, v in CASES]
)
def test_the_argument_is_named_before_anything_starts(
    argument: str, value: Any, tmp_path: Path
) -> None:
    with pytest.raises(tune.TuneError) as caught:
        run({argument: value})
    assert isinstance(caught.value, (ValueError, TypeError))
    shown = "trainable" if argument == "run_or_experiment" else argument
    assert f"`{shown}" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_argument_is_left_out() -> None:
    parameters = inspect.signature(tune.run).parameters.values()
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert named - ELSEWHERE == WRONG.keys()


def test_what_is_right_is_accepted() -> None:
    with pytest.raises(AssertionError, match="were accepted"):
        run(
            {
                "metric": ["a", "b"],
                "mode": ["min", "max"],
                "stop": [{"a": 1}, MaximumIterationStopper(3)],
                "time_budget_s": datetime.timedelta(hours=1),
                "trial_time_limit_s": 0.5,
                "checkpoint_at_end": False,
                "keep_checkpoints_num": 1,
                "checkpoint_score_attr": "min-a",
                "name": "mine",
                "seed": 0,
                "env_vars": {"A": ""},
                "chdir_to_trial_dir": False,
                "callbacks": (),
            }
        )


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"no argument `num_sample`.*`num_samples`"):
        run({"num_sample": 3})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("trainable", None),
        ("trainable", 3),
        ("tune_config", {}),
        ("tune_config", RunConfig()),
        ("run_config", TuneConfig()),
        ("param_space", 3),
    ],
)
def test_a_tuner_names_its_arguments(argument: str, value: Any) -> None:
    with pytest.raises(tune.TuneError, match=f"`{argument}`"):
        tune.Tuner(**{"trainable": train, argument: value}).fit()


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("failure_config", lambda: RunConfig(failure_config={})),  # type: ignore[arg-type]
        ("failure_config", lambda: RunConfig(failure_config=CheckpointConfig())),  # type: ignore[arg-type]
        ("checkpoint_config", lambda: RunConfig(checkpoint_config=FailureConfig())),  # type: ignore[arg-type]
        ("cluster", lambda: RunConfig(cluster="")),
        ("cluster", lambda: RunConfig(cluster=" ")),
        ("callbacks", lambda: RunConfig(callbacks=print)),  # type: ignore[arg-type]
        ("max_failures", lambda: FailureConfig(max_failures="many")),  # type: ignore[arg-type]
        ("fail_fast", lambda: FailureConfig(max_failures=1, fail_fast=True)),
        ("num_to_keep", lambda: CheckpointConfig(num_to_keep=0)),
        ("checkpoint_score_order", lambda: CheckpointConfig(checkpoint_score_order="up")),
        ("checkpoint_frequency", lambda: CheckpointConfig(checkpoint_frequency=-1)),
        ("trial_name_creator", lambda: TuneConfig(trial_name_creator="x")),  # type: ignore[arg-type]
        ("chdir_to_trial_dir", lambda: TuneConfig(chdir_to_trial_dir="x")),  # type: ignore[arg-type]
    ],
)
def test_configurations_name_their_fields_when_they_are_made(argument: str, make: Any) -> None:
    with pytest.raises(tune.TuneError, match=f"`{argument}`"):
        make()
