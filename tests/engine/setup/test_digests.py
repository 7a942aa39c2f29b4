"""Digests are equal for equal objects, wherever they were made."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.engine.setup.digests import content_digest, space_texts

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


def trainable(shift: float, power: int = 1) -> Callable[[dict[str, Any]], dict[str, float]]:
    def train(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": config["x"] ** power + shift}

    return train


@given(PLAIN)
def test_a_copy_has_the_same(value: Any) -> None:
    assert content_digest(value) == content_digest(pickle.loads(pickle.dumps(value)))


@given(PLAIN, PLAIN)
def test_unequal_values_have_different_ones(one: Any, other: Any) -> None:
    if repr(one) != repr(other) and one != other:
        assert content_digest(one) != content_digest(other)


def test_the_order_of_parameters_does_not_count() -> None:
    assert content_digest({"a": 1, "b": 2}) == content_digest({"b": 2, "a": 1})


ALIKE: list[Callable[[], Any]] = [
    lambda: {"x": tune.uniform(0, 1), "shift": 0},
    lambda: {"x": tune.choice([tune.uniform(0, 1), {"deep": tune.grid_search([1, 2])}])},
    lambda: tune.sample_from(lambda spec: spec.config.x * 2),
    lambda: trainable(100),
    lambda: functools.partial(trainable(0), verbose=True),
    lambda: tune.with_parameters(trainable, power=np.arange(3)),
    lambda: np.arange(12).reshape(3, 4).T,
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    lambda: {"apple", "pear", "plum"},
    lambda: threading.Lock(),
]


@pytest.mark.parametrize("make", ALIKE)
def test_what_is_made_alike_has_the_same(make: Callable[[], Any]) -> None:
    assert content_digest(make()) == content_digest(make())


def test_what_is_made_otherwise_has_another() -> None:
    class Model(tune.Trainable):
        def setup(self, config: dict[str, Any], data: Any = None) -> None: ...

        def step(self) -> dict[str, float]:
            return {"loss": 0}

    values = [
        *(make() for make in ALIKE),
        {"x": tune.uniform(0, 1), "shift": 100},
        {"x": tune.loguniform(0.1, 1), "shift": 0},
        trainable(0),
        trainable(0, power=2),
        lambda config: {"loss": config["x"]},
        lambda config: {"loss": config["y"]},
        np.arange(12).reshape(3, 4),
        np.arange(12, dtype=np.float32).reshape(3, 4),
        Model,
        tune.with_parameters(Model, data=1),
        tune.with_parameters(Model, data=2),
        [1, 2],
        [2, 1],
        True,
        1,
        1.0,
        "1",
        b"1",
    ]
    assert len({content_digest(value) for value in values}) == len(values)


def test_objects_that_refer_to_themselves_have_one() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert content_digest(loop) == content_digest(loop)


def test_another_process_has_the_same() -> None:
    code = (
        "from tests.engine.setup.test_digests import *;"
        "print(content_digest([make() for make in ALIKE]))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] == f"{content_digest([make() for make in ALIKE])}\n"


def test_each_parameter_is_named_by_its_path():
    space = {"x": tune.uniform(0, 1), "deep": {"y": 1, "empty": {}}}
    assert space_texts(space) == {"x": "Float(0, 1)", "deep/y": "1", "deep/empty": "{}"}


def test_no_space_has_no_parameters():
    assert space_texts({}) == {}


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_an_object_that_cannot_be_shown_is_named_by_its_class() -> None:
    assert space_texts({"x": Mute()}) == {"x": "<Mute>"}
