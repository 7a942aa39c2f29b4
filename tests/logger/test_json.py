"""`result.json` and the files of the configuration."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.experiment.plain import to_json
from prefect_tune.logger import JsonLoggerCallback
from prefect_tune.testing.logger import as_lines, example_results, example_trial
from prefect_tune.trainable.runtime.metrics import CONSTANTS

PRETTY = {"indent": 2, "sort_keys": True}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def logged(directory: Path) -> list[Any]:
    return [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]


def test_each_line_stands_for_itself(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    results = example_results(trial, 4)
    logger = JsonLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_results(0, trial, results, as_lines(results))
    logger.log_trial_end(trial)
    assert logged(Path(trial.logdir)) == results
    assert all(
        name in logged(Path(trial.logdir))[0] for name in CONSTANTS if name != "experiment_id"
    )


def test_constants_are_those_of_the_attempt(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = JsonLoggerCallback()
    for pid in (100, 200):
        results = [result | {"pid": pid} for result in example_results(trial, 2)]
        logger.log_trial_start(trial)
        logger.log_trial_results(0, trial, results, as_lines(results))
    logger.on_experiment_end([trial])
    assert [line["pid"] for line in logged(Path(trial.logdir))] == [100, 100, 200, 200]


def test_a_result_marked_as_done_is_logged_as_done(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    results = example_results(trial, 3)
    lines = as_lines(results)
    results[-1]["done"] = True
    logger = JsonLoggerCallback()
    logger.log_trial_results(0, trial, results, lines)
    logger.on_experiment_end([trial])
    assert [line["done"] for line in logged(Path(trial.logdir))] == [False, False, True]


def test_configuration_as_text_and_pickle(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    trial.config |= {"fn": len, "array": np.arange(3), "nan": math.nan, "scalar": np.float32(0.5)}
    JsonLoggerCallback().log_trial_start(trial)
    text = json.loads((Path(trial.logdir) / "params.json").read_text())
    assert text["array"] == [0, 1, 2]
    assert math.isnan(text["nan"])
    assert text["scalar"] == 0.5
    assert text["net"] == {"units": 64, "act": "relu"}
    restored = pickle.loads((Path(trial.logdir) / "params.pkl").read_bytes())
    assert restored["fn"] is len


def test_an_unpicklable_configuration_is_still_written_as_text(tmp_path: Path) -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("no pickles")

        def __str__(self) -> str:
            return "stubborn"

    trial = example_trial(tmp_path)
    trial.config["object"] = Stubborn()
    JsonLoggerCallback().log_trial_start(trial)
    assert json.loads((Path(trial.logdir) / "params.json").read_text())["object"] == "stubborn"
    assert not (Path(trial.logdir) / "params.pkl").exists()


def test_a_torn_last_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    Path(trial.logdir).mkdir()
    path = Path(trial.logdir) / "result.json"
    path.write_bytes(b'{"training_iteration": 1}\n{"training_it')
    logger = JsonLoggerCallback()
    logger.log_trial_start(trial)
    logger.log_trial_result(0, trial, {"training_iteration": 2})
    logger.log_trial_end(trial)
    assert logged(Path(trial.logdir)) == [{"training_iteration": 1}, {"training_iteration": 2}]


@settings(deadline=None)
@given(json_values, st.sampled_from([{}, PRETTY]))
def test_json_values_survive(value: Any, options: dict[str, Any]) -> None:
    assert json.loads(to_json(value, **options)) == value


@settings(deadline=None)
@given(
    st.dictionaries(st.integers() | st.text(max_size=3) | st.tuples(st.integers()), st.integers())
)
def test_any_keys_can_be_encoded(value: dict[Any, int]) -> None:
    for options in ({}, PRETTY):
        assert set(json.loads(to_json(value, **options)).values()) <= set(value.values())


class OnlyLooksLikeAnArray:
    def tolist(self) -> None:
        raise ValueError("only tensors of one element can be converted")

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("keys", [("a", "b"), ("a", 1)], ids=["sortable", "not sortable"])
def test_objects_that_raise_are_named_by_their_class(keys: tuple[Any, ...]) -> None:
    text = to_json(dict.fromkeys(keys, OnlyLooksLikeAnArray()), **PRETTY)
    assert set(json.loads(text).values()) == {"<OnlyLooksLikeAnArray>"}


def test_counts_the_whole_lines_of_earlier_processes(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = JsonLoggerCallback()
    assert logger.count_results(trial) == 0
    logger.log_trial_results(0, trial, [{"step": step, "text": "two\nlines"} for step in range(3)])
    logger.log_trial_end(trial)
    path = Path(trial.logdir, "result.json")
    path.write_text(path.read_text() + '{"torn')
    assert JsonLoggerCallback().count_results(trial) == 3


@pytest.mark.parametrize("count", range(4))
def test_keeps_the_first_lines(tmp_path: Path, count: int) -> None:
    trial = example_trial(tmp_path)
    logger = JsonLoggerCallback()
    logger.keep_results(trial, count)  # nothing is there yet
    logger.log_trial_results(0, trial, [{"step": step, "text": '"\n'} for step in range(3)])
    logger.log_trial_end(trial)
    JsonLoggerCallback().keep_results(trial, count)
    assert [line["step"] for line in logged(Path(trial.logdir))] == [0, 1, 2][:count]
