import collections
import dataclasses
import datetime
import math
import pathlib
import threading
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.trainable.runtime.result_codec import (
    MAX_PICKLED,
    decode_line,
    decode_report,
    encode_report,
    encode_result,
)
from tests.parameter_ids import stable_repr

numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=True)
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text())
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.dictionaries(st.text(), values))
def test_json_values_come_back_as_they_were(result):
    line = encode_result(result)

    assert b"\n" not in line
    assert decode_line(line) == result


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, None, 1.5, "null"]), max_size=8))
def test_non_finite_numbers_are_kept_apart_from_none(items):
    decoded = decode_line(encode_result({"items": items, "deep": {"items": tuple(items)}}))

    for back in (decoded["items"], decoded["deep"]["items"]):
        assert [repr(item) for item in back] == [repr(item) for item in items]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_non_finite_numpy_values_are_kept(dtype):
    result = {"scalar": dtype("nan"), "array": np.array([1, np.inf], dtype), "none": None}

    decoded = decode_line(encode_result(result, known_nulls=1))

    assert math.isnan(decoded["scalar"])
    assert decoded["array"] == [1.0, math.inf]
    assert decoded["none"] is None


def test_a_known_null_does_not_hide_a_nan():
    assert math.isnan(decode_line(encode_result({"a": None, "b": math.nan}, known_nulls=1))["b"])


class FakeTensor:
    """Behaves as torch's and tensorflow's tensors do where it matters."""

    def __init__(self, *values):
        self.values = values

    def item(self):
        if len(self.values) != 1:
            raise RuntimeError("only one element tensors can be converted")
        return self.values[0]

    def tolist(self):
        return list(self.values)


class FakeEagerTensor:
    def numpy(self):
        return np.float32(0.5)


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize("nan", [{}, {"nan": math.nan}], ids=["fast", "exact"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.arange(4).reshape(2, 2).T, [[0, 2], [1, 3]]),
        (FakeTensor(0.25), 0.25),
        (FakeTensor(1, 2), [1, 2]),
        (FakeEagerTensor(), 0.5),
        ({2: "a", None: "b", True: "c"}, {"2": "a", "null": "b", "true": "c"}),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Point(1), {"x": 1}),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (object, "<class 'object'>"),
        (2**70, float(2**70)),
    ],
    ids=stable_repr,
)
def test_other_values_become_the_nearest_thing(value, expected, nan):
    decoded = decode_line(encode_result({"value": value, **nan}))

    assert decoded["value"] == expected


def test_a_result_that_contains_itself_is_refused():
    result = {}
    result["self"] = result

    with pytest.raises(ValueError, match="contains itself"):
        encode_result(result)


@pytest.mark.parametrize("line", [b"[1]", b"3", b"{", b""])
def test_a_line_that_is_no_result_is_refused(line):
    with pytest.raises(ValueError, match=r".+"):
        decode_line(line)


def test_what_is_no_unicode_is_escaped_in_values_and_keys():
    decoded = decode_line(encode_result({"file": "caf\udce9", "k\ud800": {"x": ["\udcff"]}}))

    assert decoded == {"file": r"caf\udce9", r"k\ud800": {"x": [r"\udcff"]}}


def test_an_object_that_cannot_be_shown_is_named_by_its_class():
    class Mute:
        def __repr__(self):
            raise RuntimeError("no words")

    assert decode_line(encode_result({"x": Mute()})) == {"x": "<Mute>"}


class Own:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Own) and other.value == self.value

    __hash__ = None


class Dials(Mapping):
    """A mapping that is no dict, as configuration libraries have them."""

    def __getitem__(self, key):
        return {"a": 1}[key]

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1.1),
        np.float16("nan"),
        np.int64(-3),
        np.bool_(True),
        (1, (2, "x")),
        {1, 2},
        b"x",
        2**70,
        {1: 2},
        {"nested": {"scalar": np.float64(0.1)}},
        collections.OrderedDict(a=(1,)),
        datetime.datetime(2024, 5, 1),
        Own([1, 2]),
    ],
)
def test_a_report_brings_values_as_they_were(value):
    line, report = encode_report({"x": value, "plain": 1.5, "none": None}, known_nulls=1)
    back, result = decode_report(report)

    assert back == line == encode_result({"x": value, "plain": 1.5, "none": None})
    assert type(result["x"]) is type(value)
    assert repr(result["x"]) == repr(value) or result["x"] == value
    assert (result["plain"], result["none"]) == (1.5, None)


def test_a_report_brings_arrays_as_they_were():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    _, result = decode_report(encode_report({"x": array, "in": [array]})[1])

    for back in (result["x"], result["in"][0]):
        assert back.dtype == array.dtype
        assert back.tolist() == array.tolist()


@given(st.dictionaries(st.text(), values.filter(lambda v: within(v, 2**63))))
def test_a_report_of_plain_values_is_its_line(result):
    line, report = encode_report(result)

    assert report is line
    assert decode_report(report) == (line, result)


def within(value, limit):
    if isinstance(value, dict):
        return all(within(item, limit) for item in value.values())
    if isinstance(value, list):
        return all(within(item, limit) for item in value)
    return not isinstance(value, int) or -limit <= value < limit


@pytest.mark.parametrize(
    ("name", "value", "arrives"),
    [
        ("large", np.zeros(MAX_PICKLED // 8 + 1), [0.0] * (MAX_PICKLED // 8 + 1)),
        ("mapping", Dials(), {"a": 1}),
        ("done", np.bool_(True), True),
    ],
)
def test_some_values_arrive_as_json_has_them(name, value, arrives):
    _, result = decode_report(encode_report({name: value})[1])

    assert result[name] == arrives
    assert type(result[name]) is type(arrives)


def test_what_cannot_be_pickled_or_loaded_arrives_as_json_has_it():
    class Gone(Own):
        def __reduce__(self):
            return pathlib.Path, (1,)  # which raises when it is loaded

        def __repr__(self):
            return "Gone"

    _, result = decode_report(
        encode_report({"lock": threading.Lock(), "gone": Gone(1), "t": (1,)})[1]
    )

    assert result["lock"].startswith("<unlocked")
    assert result["gone"] == "Gone"
    assert result["t"] == (1,)


def test_an_integer_of_thousands_of_digits_is_infinite_in_json():
    line, report = encode_report({"x": -(10**5000)})

    assert decode_line(line) == {"x": -math.inf}
    assert decode_report(report)[1] == {"x": -(10**5000)}
