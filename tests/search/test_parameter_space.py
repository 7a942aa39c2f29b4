"""The reduction of search spaces to lists of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune import space as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.search.parameter_space import ParameterSpace
from prefect_tune.space import SearchSpace, random_draw
from prefect_tune.space.random import own_stream

DOMAINS = {
    "uniform": tune.uniform(-1, 1),
    "quniform": tune.quniform(0.1, 0.4, 0.1),
    "loguniform": tune.loguniform(1e-4, 1),
    "qloguniform": tune.qloguniform(0.5, 8, 0.5),
    "randint": tune.randint(0, 3),
    "qrandint": tune.qrandint(0, 10, 5),
    "lograndint": tune.lograndint(1, 100),
    "qlograndint": tune.qlograndint(2, 64, 2),
    "randn": tune.randn(3, 2),
    "qrandn": tune.qrandn(3, 2, 0.5),
    "choice": tune.choice(["a", None, 1.5]),
    "weighted": tune.choice([1, 1, True]),
    "objects": tune.choice([[1, 2], (3,), {"k": 1}, np.float32(2.0)]),
}


def space_of(space):
    return ParameterSpace(SearchSpace(space), "TestSearch", own_stream(1))


@pytest.mark.parametrize("name", DOMAINS)
@given(seed=st.integers(0, 10_000))
def test_a_config_goes_to_numbers_and_back(name, seed):
    space = space_of({"a": {name: DOMAINS[name]}})
    config = next(space.space.variants(random_draw(seed)))
    point = space.point(config)
    (parameter,) = space.parameters
    assert parameter.low <= point[parameter.name] <= parameter.high
    assert parameter.name == f"a/{name}"
    back = space.config(point)["a"][name]
    if isinstance(config["a"][name], float):
        assert back == pytest.approx(config["a"][name], rel=1e-6, abs=1e-6)
    else:
        assert back == config["a"][name]


@pytest.mark.parametrize("name", DOMAINS)
@given(share=st.floats(0, 1))
def test_every_number_of_a_parameter_stands_for_a_value_of_the_domain(name, share):
    (parameter,) = space_of({name: DOMAINS[name]}).parameters
    low, high = parameter.scaled_bounds
    number = parameter.unscaled(low + share * (high - low))
    number = number if parameter.kind == "float" else round(number)
    value = parameter.value(np.float64(number))
    assert DOMAINS[name].is_valid(value)
    assert type(value).__module__ != "numpy" or name == "objects"


def test_bounds_are_those_of_the_values_that_can_be_drawn():
    found = {p.name: p for p in space_of(DOMAINS).parameters}
    assert (found["randint"].low, found["randint"].high) == (0, 2)
    assert (found["qrandint"].low, found["qrandint"].high) == (0, 2)
    assert found["qrandint"].value(2) == 10
    assert (found["lograndint"].low, found["lograndint"].high) == (1, 99)
    assert found["quniform"].high == 3
    assert found["quniform"].value(2) == 0.3


def test_constants_and_single_values_are_put_back():
    space = space_of({"x": tune.uniform(0, 1), "c": [1, {"d": None}], "one": tune.choice(["only"])})
    assert [p.name for p in space.parameters] == ["x"]
    assert space.config({"x": 0.5}) == {"x": 0.5, "c": [1, {"d": None}], "one": "only"}


def test_a_conditional_space_has_the_parameters_of_every_branch():
    tree = {"kind": "tree", "depth": tune.randint(1, 9), "lr": tune.uniform(0, 1)}
    net = {"kind": "net", "lr": tune.uniform(0, 2)}
    space = space_of({"model": tune.choice([tree, net])})
    names = [p.name for p in space.parameters]
    assert names == ["model", "model/depth", "model/lr", "model/lr@2"]
    point = space.point({"model": {"kind": "net", "lr": 1.5}})
    assert point == {"model": 1, "model/lr@2": 1.5}
    full = {**space.random_point(), **point}
    assert space.config(full) == {"model": {"kind": "net", "lr": 1.5}}


def test_a_copy_gives_the_same_configs():
    import pickle

    space = space_of({"model": tune.choice([{"lr": tune.uniform(0, 1)}, "none"])})
    copy = pickle.loads(pickle.dumps(space))
    point = {"model": 0, "model/lr": 0.25}
    assert copy.config(point) == space.config(point) == {"model": {"lr": 0.25}}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"y": 1}, "'y'"),
        ({"x": 2}, "'x' is 2"),
        ({"x": "a"}, "'x'"),
        ({"n/k": "c"}, "'n/k' is 'c'"),
    ],
)
def test_what_a_config_has_wrong_is_named(config, named):
    space = space_of({"x": tune.uniform(0, 1), "n": {"k": tune.choice(["a", "b"])}})
    with pytest.raises(InvalidArgument, match=named):
        space.point(config)
