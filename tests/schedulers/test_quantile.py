from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.schedulers.quantile import GrowingQuantile

factors = st.one_of(
    st.integers(2, 10),
    st.floats(1, 50, exclude_min=True),
    st.sampled_from([1 + 1e-12, 1e9, 1e17]),
)


def numpy_cutoff(values: list[float], factor: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanpercentile(values, (1 - 1 / factor) * 100))


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@given(st.lists(st.floats(), min_size=1, max_size=60), factors)
def test_equals_numpy_at_every_step(values: list[float], factor: float) -> None:
    quantile = GrowingQuantile((1 - 1 / factor) * 100 / 100)
    for count, value in enumerate(values, start=1):
        quantile.add(value)
        ours = quantile.value()
        expected = numpy_cutoff(values[:count], factor)
        assert same(math.nan if ours is None else ours, expected)


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=200), factors)
def test_equals_numpy_with_many_ties(values: list[float], factor: float) -> None:
    quantile = GrowingQuantile((1 - 1 / factor) * 100 / 100)
    for value in values:
        quantile.add(value)
    assert quantile.value() == numpy_cutoff(values, factor)


@given(st.lists(st.floats(allow_nan=False), max_size=40), st.lists(st.floats(allow_nan=False)))
def test_pickle_goes_on_the_same(before: list[float], after: list[float]) -> None:
    quantile = GrowingQuantile(0.75)
    for value in before:
        quantile.add(value)
    copy = pickle.loads(pickle.dumps(quantile))
    for value in after:
        quantile.add(value)
        copy.add(value)
    assert len(copy) == len(quantile) == len(before) + len(after)
    assert repr(copy.value()) == repr(quantile.value())


def test_no_values_no_quantile() -> None:
    quantile = GrowingQuantile(0.5)
    assert quantile.value() is None
    quantile.add(math.nan)
    assert quantile.value() is None
