"""Search spaces from forms and from JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.spec.space import Param, build_space, parse_space
from prefect_tune.space import Categorical, Float, Integer

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)


def params(**by_name: dict[str, Any]) -> list[Param]:
    return [Param.model_validate({"name": n, "domain": d}) for n, d in by_name.items()]


@pytest.mark.parametrize(
    ("domain", "same"),
    [
        ({"low": 0, "high": 10}, tune.uniform(0, 10)),
        ({"low": 0, "high": 10, "step": 0.5}, tune.quniform(0, 10, 0.5)),
        ({"low": 0.1, "high": 10, "scale": "log"}, tune.loguniform(0.1, 10)),
        ({"low": 0.1, "high": 10, "scale": "log", "step": 0.1}, tune.qloguniform(0.1, 10, 0.1)),
        ({"lowest": 1, "highest": 9}, tune.randint(1, 10)),
        ({"lowest": 2, "highest": 8, "step": 2}, tune.qrandint(2, 8, 2)),
        ({"lowest": 1, "highest": 9, "scale": "log"}, tune.lograndint(1, 10)),
        ({"lowest": 2, "highest": 8, "scale": "log", "step": 2}, tune.qlograndint(2, 8, 2)),
        ({"texts": ["a", "b"]}, tune.choice(["a", "b"])),
        ({"numbers": [32, 0.5]}, tune.choice([32, 0.5])),
    ],
)
def test_each_domain_of_the_form(domain: dict[str, Any], same: Any) -> None:
    assert repr(build_space(params(x=domain))["x"]) == repr(same)


def test_grids_constants_and_nested_names() -> None:
    space = build_space(
        [
            *params(a={"numbers": [32, 64], "try_all": True}, b={"value": 3}, c={"value": True}),
            *params(**{"opt/name": {"value": "sgd"}, "opt/momentum": {"low": 0, "high": 1}}),
        ]
    )
    assert space["a"] == {"grid_search": [32, 64]}
    assert all(type(value) is int for value in space["a"]["grid_search"])
    assert (space["b"], type(space["b"])) == (3, int)
    assert space["c"] is True
    assert space["opt"]["name"] == "sgd"
    assert isinstance(space["opt"]["momentum"], Float)


@pytest.mark.parametrize(
    ("given_params", "where", "what"),
    [
        ([*params(x={"value": 1}), *params(x={"value": 2})], "space", "two parameters are called"),
        (params(x={"value": 1}, **{"x/y": {"value": 2}}), "space", "`x/y` is below a parameter"),
        (params(x={"low": 3, "high": 1}), "space.x", "`low` must be less than `high`, got 3"),
        (params(x={"low": 1, "high": 1}), "space.x", "choose Fixed"),
        (params(x={"lowest": 5, "highest": 1}), "space.x", "`highest`, got 5 and 1"),
        (params(x={"low": 0, "high": 1, "scale": "log"}), "space.x", "`low` must be above 0"),
        (params(x={"lowest": 0, "highest": 4, "scale": "log"}), "space.x", "`lowest` must be"),
        (params(x={"texts": []}), "space.x", "no values"),
    ],
)
def test_wrong_parameters_are_named(given_params: list[Param], where: str, what: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build_space(given_params)
    assert caught.value.argument == where
    assert what in str(caught.value)


def test_domains_by_position_and_by_name() -> None:
    space = parse_space(
        json.loads(
            '{"lr": {"loguniform": [1e-4, 1e-1]}, "n": {"randint": {"lower": 1, "upper": 4}},'
            ' "act": {"choice": ["relu", "tanh"]}, "bs": {"grid_search": [32, 64]}, "c": 3}'
        )
    )
    assert isinstance(space["lr"], Float)
    assert (space["lr"].lower, space["lr"].upper) == (1e-4, 1e-1)
    assert isinstance(space["n"], Integer)
    assert (space["n"].lower, space["n"].upper) == (1, 4)
    assert isinstance(space["act"], Categorical)
    assert space["bs"] == {"grid_search": [32, 64]}
    assert space["c"] == 3


def test_nesting_in_dictionaries_lists_and_choices() -> None:
    space = parse_space(
        {
            "opt": {"name": "sgd", "momentum": {"uniform": [0.5, 0.9]}},
            "layers": [{"randint": [1, 9]}, 4],
            "model": {"choice": [{"kind": "mlp", "width": {"randint": [8, 64]}}, "linear"]},
        }
    )
    assert isinstance(space["opt"]["momentum"], Float)
    assert isinstance(space["layers"][0], Integer)
    assert isinstance(space["model"].categories[0]["width"], Integer)


@given(st.dictionaries(st.text(alphabet="xyz", min_size=1), plain, max_size=4))
def test_constants_stay_what_they_are(space: dict[str, Any]) -> None:
    assert parse_space(space) == space


def test_a_nested_dictionary_with_one_key_may_be_a_constant() -> None:
    assert parse_space({"model": {"width": 3}}) == {"model": {"width": 3}}


@pytest.mark.parametrize(
    ("space", "where", "what"),
    [
        ({"lr": {"loguniformm": [1, 2]}}, "space.lr", "Did you mean `loguniform`"),
        ({"a": {"b": {"randit": [1, 2]}}}, "space.a.b", "Did you mean `randint`"),
        ({"lr": {"sample_from": "lambda"}}, "space.lr", "Python function"),
        ({"lr": {"loguniform": [1]}}, "space.lr", "It takes [lower, upper, base]"),
        ({"lr": {"uniform": ["a", 1]}}, "space.lr", "numbers"),
        ({"lr": {"uniform": [3, 1]}}, "space.lr", ""),
        ({"lr": {"loguniform": [-1, 1]}}, "space.lr", ""),
        ({"a": [{"choice": []}]}, "space.a[0]", "list of values"),
        ({"a": {"choice": "relu"}}, "space.a", "list of values"),
    ],
)
def test_errors_say_where_and_what(space: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_space(space)
    assert caught.value.argument == where
    assert what in str(caught.value)
