"""Plain data comes back; whatever could run code does not."""

from __future__ import annotations

import datetime
import math
import os
import pickle
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from prefect_tune.experiment.pickling.plain import NotPlain, dump, is_plain, load_plain

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars
    | st.binary()
    | st.datetimes()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(scalars)
    ),
)


@given(values)
def test_plain_data_comes_back(value):
    assert load_plain(dump(value)) == value


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0)))
def test_arrays_come_back(array):
    for value in (array, array.T, array.flat[0]):
        found = load_plain(dump({"x": value}))["x"]
        assert type(found) is type(value)
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.tobytes() == value.tobytes()


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Runs(os.system, "true"),
        Runs(eval, "1"),
        Runs(getattr, dict, "get"),
        Runs(exec, "1"),
        math.sqrt,
        lambda: 1,
        np.array([Runs(os.system, "true")], dtype=object),
    ],
)
def test_what_could_run_code_does_not(value):
    for data in (cloudpickle.dumps([value]), cloudpickle.dumps([value], protocol=2)):
        with pytest.raises(NotPlain, match="it refers to"):
            load_plain(data)
        assert not is_plain(data)


def test_exceptions_of_python_are_plain():
    found = load_plain(pickle.dumps(OSError(2, "gone")))
    assert type(found) is FileNotFoundError
    assert is_plain(dump([Decimal("1"), datetime.timedelta(1), PurePosixPath("a")]))
    assert not is_plain(b"damaged")
