"""Values as numbers, whatever they are."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.experiment.plain import (
    finite_number,
    nearest_json_value,
    number_of,
    same_in_json,
    strict_json_value,
)


class Broken:
    shape = ()

    def item(self) -> Any:
        raise RuntimeError("closed")


BROKEN = Broken()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (True, 1),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        (np.array(2), 2),
        (np.bool_(False), 0),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (np.array([1.0]), None),
        (np.datetime64("2024-01-01"), None),
        ("1", None),
        (None, None),
        (1j, None),
        (Broken(), None),
    ],
)
def test_what_is_a_number(value: Any, number: Any) -> None:
    assert number_of(value) == number
    assert finite_number(value) == (None if number in (math.inf, -math.inf) else number)


def test_nan_is_a_number_but_not_a_finite_one() -> None:
    assert math.isnan(number_of(np.float64("nan")) or 0)
    assert finite_number(math.nan) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(json_values)
def test_plain_values_come_back_from_json_as_they_were(value: Any) -> None:
    if same_in_json(value):
        back = json.loads(json.dumps(value))
        assert back == value
        assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        ({1: (np.int64(2), math.nan)}, {"1": [2, "nan"]}),
        ([True, None, "x", -math.inf], [True, None, "x", "-inf"]),
        (10**400, str(10**400)),
        pytest.param(BROKEN, str(BROKEN), id="broken"),
    ],
)
def test_any_value_becomes_strict_json(value: Any, plain: Any) -> None:
    assert strict_json_value(value) == plain
    json.dumps(strict_json_value(value), allow_nan=False)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float64(0.5), 0.5),
        ({3}, [3]),
        (1j, "1j"),
    ],
)
def test_nearest_json_value(value: Any, nearest: Any) -> None:
    assert nearest_json_value(value) == nearest
