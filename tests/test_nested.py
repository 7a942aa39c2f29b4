"""Nested dicts as flat ones and back."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.utils import (
    deep_update,
    flatten_dict,
    merge_dicts,
    unflatten_dict,
    unflattened_lookup,
)
from prefect_tune.utils.util import unflatten_list_dict

KEYS = st.text("abc", min_size=1, max_size=3)
NESTED = st.recursive(
    st.integers(),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)
DICTS = st.dictionaries(KEYS, NESTED, max_size=4)


@given(DICTS)
def test_there_and_back(nested):
    flat = flatten_dict(nested)

    assert not any(isinstance(value, dict) for value in flat.values())
    assert unflatten_dict(flat) == nested
    assert all(unflattened_lookup(path, nested) == value for path, value in flat.items())


@given(DICTS, DICTS)
def test_merging_changes_neither_and_the_second_wins(first, second):
    before = repr((first, second))

    merged = merge_dicts(first, second)

    assert repr((first, second)) == before
    assert set(merged) == set(first) | set(second)
    flat = flatten_dict(merged)
    assert flat | flatten_dict(second) == flat


def test_as_ray_does_it():
    assert flatten_dict({"a": {"b": 1, "c": {}}, "g": {}}) == {"a/b": 1}
    assert flatten_dict({"a": {"b": 1}}, delimiter=".") == {"a.b": 1}
    assert flatten_dict({"a": [1, {"b": 2}]}, flatten_list=True) == {"a/0": 1, "a/1/b": 2}
    with pytest.raises(ValueError, match="'/'"):
        flatten_dict({"a/b": 1}, prevent_delimiter=True)
    with pytest.raises(KeyError):
        unflattened_lookup("a/z", {"a": {"b": 1}})
    assert unflattened_lookup("a/1/b", {"a": [0, {"b": 5}]}) == 5
    assert unflattened_lookup("a/z", {"a": {"b": 1}}, default=3) == 3


def test_lists_are_made_of_positions():
    flat = {"a/0/b": 12, "a/1/c": 56, "a/1/d": 92, "e/1": 2, "e/0": 1, "f/1": 3, "g": {"0": 1}}
    assert unflatten_list_dict(flat) == {
        "a": [{"b": 12}, {"c": 56, "d": 92}],
        "e": [1, 2],
        "f": {"1": 3},
        "g": {"0": 1},
    }
    assert unflatten_list_dict({"0.a": 1, "1": 2}, delimiter=".") == [{"a": 1}, 2]


@given(st.dictionaries(KEYS, st.lists(NESTED, min_size=1, max_size=3), max_size=3))
def test_lists_there_and_back(nested):
    assert unflatten_list_dict(flatten_dict(nested, flatten_list=True)) == nested


def test_a_path_through_a_value_is_refused():
    with pytest.raises(InvalidArgument, match="a/b"):
        unflatten_dict({"a": 1, "a/b": 2})


def test_updates_in_place():
    original = {"a": {"b": 1}, "o": {"type": "sgd", "lr": 1}}
    with pytest.raises(InvalidArgument, match="'c'"):
        deep_update(original, {"a": {"c": 2}})

    deep_update(original, {"a": {"c": 2}}, allow_new_subkey_list=["a"])
    deep_update(original, {"o": {"type": "adam"}}, override_all_if_type_changes=["o"])

    assert original == {"a": {"b": 1, "c": 2}, "o": {"type": "adam"}}


def test_an_ordered_dict_stays_one():
    flat = flatten_dict(OrderedDict(a=OrderedDict(b=1)))
    assert type(flat) is OrderedDict
    assert type(unflatten_dict(flat)) is OrderedDict
