from __future__ import annotations

import itertools
import json
import math
import pickle
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune import space as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.search.compatibility import generate_variants
from prefect_tune.space import RecursiveDependencyError, SearchSpace, VariantStream, format_tag


def configs(space, num_samples=1, points=(), **arguments):
    stream = VariantStream(SearchSpace(space), num_samples, points, **arguments)
    result = [variant.config for variant in stream]
    assert stream.total == len(result)
    return result


def one(space, **arguments):
    (config,) = configs(space, random_state=0, **arguments)
    return config


def test_first_grid_by_path_varies_fastest_and_samples_are_outermost():
    space = {"b": tune.grid_search(["x", "y"]), "a": tune.grid_search([1, 2])}
    grid = [(1, "x"), (2, "x"), (1, "y"), (2, "y")]
    assert [(c["a"], c["b"]) for c in configs(space, 2)] == grid * 2


def test_a_grid_of_whole_configs():
    first, second = {"a": 1, "n": {"u": tune.uniform(0, 1)}}, {"a": 2, "n": {"u": 5}}
    stream = VariantStream(SearchSpace(tune.grid_search([first, second])), 2)
    variants = list(stream)
    assert stream.total == len(variants) == 4
    assert [v.config["a"] for v in variants] == [1, 2, 1, 2]
    assert all(0 <= v.config["n"]["u"] <= 1 for v in variants[::2])
    assert variants[1].config == second
    assert variants[1].config is not second
    assert variants[1].resolved == {"a": 2, "n/u": 5}
    with pytest.raises(InvalidArgument, match="must be a dict"):
        SearchSpace(tune.grid_search([1, 2]))
    with pytest.raises(InvalidArgument, match="must be a dict"):
        SearchSpace({"eval": "1"})


def test_list_positions_are_ordered_as_numbers():
    space = {"l": [tune.grid_search([0, 1]) for _ in range(11)]}
    first, second, third = itertools.islice(tune.generate_variants(space), 3)
    assert second.config["l"] == [1] + [0] * 10
    assert third.config["l"] == [0, 1] + [0] * 9
    assert first.config["l"] == [0] * 11


def test_domains_are_drawn_anew_for_each_grid_point():
    space = {"g": tune.grid_search([1, 2, 3]), "u": tune.uniform(0, 1)}
    assert len({c["u"] for c in configs(space, 2)}) == 6


def test_constant_grid_search_draws_once_per_sample():
    space = {
        "g": tune.grid_search([1, 2, 3]),
        "u": tune.uniform(0, 1),
        "m": tune.choice([{"v": tune.uniform(0, 1)}]),
        "f": tune.sample_from(lambda c: c["u"]),
        "of_grid": tune.sample_from(lambda c: c["g"] * 2),
    }
    result = configs(space, 2, constant_grid_search=True)
    for sample in (result[:3], result[3:]):
        assert len({(c["u"], c["m"]["v"], c["f"]) for c in sample}) == 1
        assert [c["of_grid"] for c in sample] == [2, 4, 6]
    assert result[0]["u"] != result[3]["u"]


def test_nested_dicts_lists_and_tuples():
    point = namedtuple("point", "x y")
    space = {
        "d": {"e": {"f": tune.choice([1])}},
        "l": [tune.choice([2]), [tune.choice([3])], {"k": tune.choice([4])}],
        "t": (tune.choice([5]), 6, (tune.choice([7]),)),
        "p": point(tune.choice([8]), 9),
        "o": OrderedDict(z=tune.choice([10])),
    }
    config = one(space)
    assert config == {
        "d": {"e": {"f": 1}},
        "l": [2, [3], {"k": 4}],
        "t": (5, 6, (7,)),
        "p": point(8, 9),
        "o": OrderedDict(z=10),
    }
    assert isinstance(config["p"], point)
    assert isinstance(config["o"], OrderedDict)


def test_domains_inside_of_choices_are_resolved():
    space = {
        "m": tune.choice([{"deep": tune.choice([[tune.choice([1])]]), "c": 2}]),
        "direct": tune.choice([tune.choice([tune.choice([3])])]),
        "tuple": tune.choice([(tune.choice([4]), 5)]),
    }
    assert one(space) == {"m": {"deep": [1], "c": 2}, "direct": 3, "tuple": (4, 5)}


def test_branches_of_a_choice_have_their_own_parameters():
    space = {"m": tune.choice([{"kind": "a", "x": tune.randint(0, 5)}, {"kind": "b"}])}
    seen = {tuple(c["m"]) for c in configs(space, 50, random_state=0)}
    assert seen == {("kind", "x"), ("kind",)}


def test_grids_inside_of_choices_and_grids():
    space = {"m": tune.choice([{"g": tune.grid_search([1, 2])}]), "u": tune.uniform(0, 1)}
    first, second = tune.generate_variants(space)
    assert (first.config["m"], second.config["m"]) == ({"g": 1}, {"g": 2})
    assert first.config["u"] == second.config["u"]
    space = {"a": tune.grid_search([tune.grid_search([1, 2]), {"b": tune.grid_search([3, 4])}])}
    assert [v.config["a"] for v in tune.generate_variants(space)] == [1, 2, {"b": 3}, {"b": 4}]


def test_categorical_grid():
    assert [c["a"] for c in configs({"a": tune.Categorical([1, 2]).grid()})] == [1, 2]


def test_functions_see_spec_and_config():
    space = {
        "x": tune.choice([2]),
        "n": {"y": tune.choice([3])},
        "l": [tune.choice([5]), {"z": 1}],
        "spec": tune.sample_from(lambda spec: spec.config.x * spec.config.n.y),
        "config": tune.sample_from(lambda config: config["x"] + config["n"]["y"]),
        "attribute": tune.sample_from(lambda config: config.x),
        "get": tune.sample_from(lambda config: config.get("missing", 9)),
        "list": tune.sample_from(lambda spec: spec.config.l[0] + spec.config["l"][1].z),
        "none": tune.sample_from(lambda: 1),
        "eval": {"eval": "spec.config.x * 10 + config['n']['y']"},
    }
    config = one(space)
    assert config["spec"] == 6
    assert config["config"] == 5
    assert config["attribute"] == 2
    assert config["get"] == 9
    assert config["list"] == 6
    assert config["none"] == 1
    assert config["eval"] == 23


def test_functions_see_lists_that_are_known_as_lists():
    space = {
        "n": {"depths": tune.grid_search([[2, 2, 2], [2, 2]]), "l": [1, {"a": 2}]},
        "open": [tune.sample_from(lambda c: c["n"]["l"]), 7],
        "equal": tune.sample_from(lambda spec: spec.config.n.depths == [2, 2, 2]),
        "more": tune.sample_from(lambda spec: spec.config.n.depths + spec.config.n.l),
        "kind": tune.sample_from(lambda config: isinstance(config["n"]["l"], list)),
        "nested": tune.sample_from(lambda c: (c["n"]["l"] == [1, {"a": 2}], c.n.l[1].a)),
        "part": tune.sample_from(lambda c: c["open"][1]),
    }
    first, second = configs(space)
    assert (first["equal"], second["equal"]) == (True, False)
    assert first["more"] == [2, 2, 2, 1, {"a": 2}]
    assert first["kind"] is True
    assert first["nested"] == (True, 2)
    assert first["part"] == 7


def test_a_parameter_called_config():
    space = {
        "config": {"x": tune.choice([1])},
        "a": tune.sample_from(lambda spec: spec.config.config.x),
        "b": tune.sample_from(lambda config: config["config"]["x"]),
    }
    assert one(space) == {"config": {"x": 1}, "a": 1, "b": 1}


def test_functions_wait_for_each_other_in_any_order():
    space = {
        "a": tune.sample_from(lambda spec: spec.config.b + 1),
        "b": tune.sample_from(lambda spec: spec.config["c"] + 1),
        "c": tune.sample_from(lambda spec: spec.config.m.x + 1),
        "m": tune.choice([{"x": tune.choice([0])}]),
    }
    assert one(space) == {"a": 3, "b": 2, "c": 1, "m": {"x": 0}}


def test_functions_may_return_domains_grids_and_parts_of_the_config():
    space = {
        "x": {"k": tune.choice([1])},
        "domain": tune.sample_from(lambda spec: {"inner": tune.choice([7])}),
        "part": tune.sample_from(lambda spec: spec.config.x),
        "grid": tune.sample_from(lambda spec: tune.grid_search([1, 2])),
    }
    result = [variant.config for variant in tune.generate_variants(space)]
    assert [c["grid"] for c in result] == [1, 2]
    assert type(result[0]["part"]) is dict
    assert result[0]["part"] == {"k": 1}
    assert result[0]["domain"] == {"inner": 7}


def test_depending_on_a_grid():
    space = {"g": tune.grid_search([1, 2]), "f": tune.sample_from(lambda c: c["g"] * 2)}
    assert [c["f"] for c in configs(space)] == [2, 4]


@pytest.mark.parametrize(
    "space",
    [
        {
            "a": tune.sample_from(lambda s: s.config.b),
            "b": tune.sample_from(lambda s: s.config["a"]),
        },
        {"a": tune.sample_from(lambda s: s.config.a)},
        {"a": tune.sample_from(lambda c: dict(c.items()))},
    ],
)
def test_circular_functions_are_an_error(space):
    with pytest.raises(RecursiveDependencyError, match="'a'"):
        next(tune.generate_variants(space))


def test_a_function_that_returns_itself_is_an_error():
    endless = tune.sample_from(lambda: endless)
    with pytest.raises(RecursiveDependencyError, match="'a'"):
        next(tune.generate_variants({"a": endless}))


def test_a_failing_function_is_named():
    space = {"x": 1, "f": tune.sample_from(lambda spec: spec.config.misspelt)}
    with pytest.raises(ValueError, match=r"'f' failed.*'misspelt'.*x, f"):
        next(tune.generate_variants(space))


def test_malformed_spaces():
    for bad in ([1], "a", 3, tune.uniform(0, 1), {"grid_search": [1]}):
        with pytest.raises(InvalidArgument, match=r"must be a dict"):
            SearchSpace(bad)
    with pytest.raises(InvalidArgument, match="grid_search of 'a/b'"):
        SearchSpace({"a": {"b": {"grid_search": 3}}})
    with pytest.raises(InvalidArgument, match="a/b"):
        SearchSpace({"a": {"b": {"eval": "1 +"}}})


def test_objects_with_to_dict_are_spaces():
    class Settings:
        def to_dict(self):
            return {"a": tune.choice([1])}

    assert one(Settings()) == {"a": 1}


def test_constants_are_taken_over_and_containers_are_copied():
    big, default = object(), {"list": [1, {"x": 2}]}
    space = {"o": big, "c": default, "f": len, "ch": tune.choice([[1, 2]])}
    first, second = configs(space, 2)
    assert first["o"] is big
    assert first["f"] is len
    first["c"]["list"][1]["x"] = 5
    first["ch"].append(3)
    assert second["c"] == {"list": [1, {"x": 2}]}
    assert second["ch"] == [1, 2]
    assert default == {"list": [1, {"x": 2}]}


def test_presets_counting_rule():
    space = {"a": tune.grid_search([1, 2]), "b": tune.grid_search([1, 2, 3, 4])}
    points = [{"a": 1, "b": 3}, {"a": 2}, {"b": 1}]
    result = configs(space, 5, points)
    assert len(result) == 1 + 4 + 2 + 2 * 8 == 23
    assert result[0] == {"a": 1, "b": 3}
    assert [c["b"] for c in result[1:5]] == [1, 2, 3, 4]
    assert {c["a"] for c in result[1:5]} == {2}
    assert [c["a"] for c in result[5:7]] == [1, 2]


def test_more_presets_than_samples():
    points = [{"u": 0.1}, {"u": 0.2}, {"u": 0.3}]
    assert [c["u"] for c in configs({"u": tune.uniform(0, 1)}, 1, points)] == [0.1, 0.2, 0.3]


def test_presets_may_be_partial_nested_flat_and_override_constants():
    space = {"n": {"a": tune.uniform(0, 1), "b": tune.uniform(0, 1)}, "c": 1}
    first, second, third = configs(space, 3, [{"n": {"a": 5}}, {"n/b": 6}, {"c": 2}])
    assert first["n"]["a"] == 5
    assert 0 <= first["n"]["b"] <= 1
    assert second["n"]["b"] == 6
    assert third["c"] == 2
    described = next(VariantStream(SearchSpace(space), 1, [{"n": {"a": 5}}])).resolved
    assert described["n/a"] == 5


def test_presets_out_of_the_domain_are_used_with_a_warning(caplog):
    assert configs({"u": tune.uniform(0, 1)}, 1, [{"u": 2}]) == [{"u": 2}]
    assert "'u'" in caplog.text


@pytest.mark.parametrize(
    "point", [{"x": 1}, {"n": {"x": 1}}, {"n/x": 1}, {"n": 3}, [1], {"n": {"a": 1}, "y": 2}]
)
def test_wrong_presets_are_an_error(point):
    space = SearchSpace({"n": {"a": tune.uniform(0, 1)}})
    with pytest.raises(InvalidArgument, match="points_to_evaluate"):
        VariantStream(space, 1, [point])


@pytest.mark.parametrize("num_samples", [0, -2, 1.5, "3", True, None])
def test_wrong_num_samples(num_samples):
    with pytest.raises(InvalidArgument, match="`num_samples`"):
        VariantStream(SearchSpace({}), num_samples)


def test_endless_samples():
    stream = tune.generate_variants({"g": tune.grid_search([1, 2])}, num_samples=-1)
    assert stream.total is None
    assert [v.config["g"] for v in itertools.islice(stream, 5)] == [1, 2, 1, 2, 1]


def test_a_huge_grid_is_lazy():
    space = {f"g{i}": tune.grid_search(list(range(100))) for i in range(5)}
    stream = tune.generate_variants(space)
    assert stream.total == 10**10
    assert next(stream).config == {f"g{i}": 0 for i in range(5)}


def test_resolved_lists_variables_by_path():
    space = {
        "c": 1,
        "n": {"u": tune.choice([0.5])},
        "l": [tune.choice([3])],
        "m": tune.choice([{"kind": "a", "x": tune.choice([2])}]),
        "d": tune.choice([{"plain": 1}]),
    }
    variant = next(tune.generate_variants(space))
    assert variant.resolved == {
        "n/u": 0.5,
        "l/0": 3,
        "m/kind": "a",
        "m/x": 2,
        "d": {"plain": 1},
    }


def test_tag():
    resolved = {"b": 0.123456, "a/lr": 1e-6, "c": "x/y (z)", "l/0": 3, "n": None}
    assert format_tag(4, resolved) == "4_lr=0.0000,b=0.1235,c=x_y_z,0=3,n=None"
    assert format_tag(0, {}) == "0"


def test_numpy_seed_decides_without_random_state():
    space = {"u": tune.uniform(0, 1), "f": tune.sample_from(lambda: np.random.uniform())}
    np.random.seed(1)
    first = configs(space, 3)
    np.random.seed(1)
    assert configs(space, 3) == first


leaf = st.one_of(
    st.builds(lambda: tune.uniform(0, 1)),
    st.builds(lambda: tune.randint(0, 100)),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tune.choice),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tune.grid_search),
    st.integers(),
    st.text(max_size=3),
)
keys = st.text("abcdef", min_size=1, max_size=2)
spaces = st.dictionaries(
    keys,
    st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.dictionaries(keys, inner, max_size=3), st.lists(inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def grids(space):
    if isinstance(space, dict):
        if set(space) == {"grid_search"}:
            return [space["grid_search"]]
        return [g for value in space.values() for g in grids(value)]
    return [g for value in space for g in grids(value)] if isinstance(space, list) else []


def unresolved(value):
    if isinstance(value, dict):
        return "grid_search" in value or any(map(unresolved, value.values()))
    if isinstance(value, list):
        return any(map(unresolved, value))
    return isinstance(value, tune.Domain)


@settings(max_examples=60, deadline=None)
@given(spaces, st.integers(1, 3), st.integers(0, 1000))
def test_any_space_gives_the_right_number_of_resolved_configs(space, num_samples, seed):
    size = math.prod(len(grid) for grid in grids(space))
    if size > 200:
        return
    result = configs(space, num_samples, random_state=seed)
    assert len(result) == num_samples * size
    assert not any(map(unresolved, result))
    assert result == configs(space, num_samples, random_state=seed)


@settings(max_examples=60, deadline=None)
@given(spaces, st.integers(1, 3), st.data(), st.booleans(), st.sampled_from(["seed", "legacy"]))
def test_seek_continues_exactly_where_the_stream_was(space, num_samples, data, constant, kind):
    if math.prod(len(grid) for grid in grids(space)) > 50:
        return

    def stream():
        state = 7 if kind == "seed" else np.random.RandomState(7)
        return VariantStream(SearchSpace(space), num_samples, (), constant, state)

    whole = list(stream())
    cut = data.draw(st.integers(0, len(whole)))
    first = stream()
    start = list(itertools.islice(first, cut))
    second = stream()
    second.seek(pickle.loads(pickle.dumps(first.position())))
    assert start + list(second) == whole


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 5),
    st.lists(st.sets(st.integers(0, 3)), max_size=4),
)
def test_number_of_trials_formula(sizes, num_samples, fixed):
    space = {str(i): tune.grid_search(list(range(size))) for i, size in enumerate(sizes)}
    fixed = [{str(i) for i in names if i < len(sizes)} for names in fixed]
    points = [dict.fromkeys(names, 0) for names in fixed]
    left = [math.prod(s for i, s in enumerate(sizes) if str(i) not in names) for names in fixed]
    expected = sum(left) + max(0, num_samples - len(points)) * math.prod(sizes)
    if expected < 2000:
        assert len(configs(space, num_samples, points)) == expected


def test_resume_with_another_kind_of_random_state_is_an_error():
    space = SearchSpace({"u": tune.uniform(0, 1)})
    position = VariantStream(space, 2, random_state=1).position()
    with pytest.raises(InvalidArgument, match="random_state"):
        VariantStream(space, 2, random_state=np.random.RandomState(1)).seek(position)


def test_spaces_can_be_pickled():
    space = SearchSpace({"u": tune.uniform(0, 1), "c": tune.choice([{"v": tune.randint(0, 9)}])})
    again = pickle.loads(pickle.dumps(space))
    assert [v.config for v in VariantStream(again, 3, random_state=1)] == [
        v.config for v in VariantStream(space, 3, random_state=1)
    ]


class Attributes(dict):
    """A dict with attributes, as many scripts keep their settings in."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Converts(dict):
    """Keeps copies of what it is given, as the attributes of an EasyDict are."""

    def __init__(self, values=()):
        super().__init__()
        for name, value in dict(values).items():
            self[name] = value

    def __setitem__(self, name, value):
        if isinstance(value, list):
            value = [Converts(item) if isinstance(item, dict) else item for item in value]
        elif type(value) is dict:
            value = Converts(value)
        super().__setitem__(name, value)


class Strict(dict):
    __getattr__ = dict.__getitem__


class Named(tuple):
    """A tuple with something more, such as the name that a table shows."""

    def __new__(cls, values, name="?"):
        made = super().__new__(cls, values)
        made.name = name
        return made


class Pair(tuple):
    def __new__(cls, first, second):
        return super().__new__(cls, (first, second))


class Items(list): ...


def test_lists_and_tuples_of_other_classes_stay_what_they_are():
    constant = Named([1, 2], "loaders")
    space = {
        "constant": constant,
        "choice": tune.choice([constant]),
        "grid": tune.grid_search([constant]),
        "filled": Named([tune.choice([3]), {"a": tune.choice([4])}]),
        "list": Items([tune.choice([5])]),
        "pair": Pair(1, [tune.choice([6])]),
    }
    (config,) = configs(space, 1)
    assert all(config[name] is constant for name in ("constant", "choice", "grid"))
    assert config["filled"] == (3, {"a": 4})
    assert type(config["filled"]) is Named
    assert config["list"] == [5]
    assert type(config["list"]) is Items
    assert config["pair"] == (1, [6])  # its class cannot be made from the values


@pytest.mark.parametrize("kind", [Attributes, Converts, Strict, OrderedDict])
def test_dicts_of_other_classes_stay_what_they_are(kind):
    inner = kind({"a": tune.choice([3])})
    space = kind({"deep": inner, "list": [inner, tune.choice([4])], "k": 1})
    first, second = configs(space, 2)
    assert first == {"deep": {"a": 3}, "list": [{"a": 3}, 4], "k": 1}
    assert type(first) is type(first["deep"]) is type(first["list"][0]) is kind
    assert first["deep"] is not second["deep"]
    assert inner["a"].sample() == 3  # the space itself is as it was


def test_functions_see_nested_parts_as_dicts():
    space = {
        "items": tune.choice([2]),
        "model": {"units": tune.choice([4]), "values": 3},
        "attribute": tune.sample_from(lambda spec: spec.config.items * 2),
        "is_dict": tune.sample_from(lambda spec: isinstance(spec.config.model, dict)),
        "json": tune.sample_from(lambda spec: json.dumps(spec.config.model)),
        "copy": tune.sample_from(lambda spec: {**spec.config.model.copy(), "more": 1}),
        "merged": tune.sample_from(lambda spec: spec.config.model | {"more": 1}),
        "pickled": tune.sample_from(lambda spec: pickle.loads(pickle.dumps(spec.config.model))),
        "changed": tune.sample_from(lambda spec: changed(spec.config.model)),
        "equal": tune.sample_from(lambda spec: spec.config.model == {"units": 4, "values": 3}),
    }

    def changed(model):
        model["units"] += 1
        return model

    config = one(space)
    model = {"units": 4, "values": 3}
    assert config["model"] == config["pickled"] == model
    assert config["attribute"] == 4
    assert (config["is_dict"], config["equal"]) == (True, True)
    assert json.loads(config["json"]) == model
    assert config["copy"] == config["merged"] == {**model, "more": 1}
    assert config["changed"] == {**model, "units": 5}
    assert {type(config[name]) for name in ("pickled", "changed", "merged")} == {dict}


@pytest.mark.parametrize(
    "read",
    [
        dict,
        json.dumps,
        lambda view: {**view},
        lambda view: view == {},
        lambda view: view.get("y"),
        lambda view: list(view.values()),
        lambda view: view.copy(),
        lambda view: view.pop("y"),
        lambda view: view | {},
    ],
)
def test_no_way_of_reading_a_nested_part_gets_what_is_not_drawn_yet(read):
    space = {
        "n": {"y": tune.sample_from(lambda spec: spec.config.x), "z": 1},
        "x": tune.sample_from(lambda spec: 5),
        "seen": tune.sample_from(lambda spec: repr(read(spec.config.n))),
    }
    assert "Function" not in one(space)["seen"]


@pytest.mark.parametrize("text", ["f1-macro", "accuracy", "max", "every 5 steps", "data/eval.csv"])
def test_a_dict_that_has_eval_as_data_is_data(text):
    assert one({"metrics": {"eval": text}}) == {"metrics": {"eval": text}}


@pytest.mark.parametrize(
    ("text", "value"), [("1 + 2", 3), ("max(1, 2)", 2), ("spec.config.x", 4), ("np.sqrt(4)", 2)]
)
def test_a_dict_that_has_an_expression_is_evaluated(text, value):
    assert one({"x": 4, "e": {"eval": text}})["e"] == value


def test_generate_variants_takes_a_whole_specification():
    spec = {
        "config": {
            "x": tune.grid_search([3]),
            "y": tune.sample_from(lambda spec: spec.config.x + 1),
        }
    }
    ((_, variant),) = generate_variants(spec)
    assert variant == {"config": {"x": 3, "y": 4}}
