from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.space import Categorical, Float, Integer
from prefect_tune.spec import ExperimentSpec, load_trainable, parse_space

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)


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


def test_a_trainable_is_imported() -> None:
    assert load_trainable("json:dumps") is json.dumps


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("json.dumps", "package.module:function"),
        ("no_such_module_x:f", "`no_such_module_x` cannot be imported"),
        ("json:dump_s", "Did you mean `dumps`"),
        ("json:__doc__", "is a str"),
        (":f", "package.module:function"),
    ],
)
def test_a_bad_import_path_names_module_or_attribute(path: str, what: str) -> None:
    with pytest.raises(InvalidTrainable, match="trainable") as caught:
        load_trainable(path)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("values", "argument"),
    [
        ({"mode": "maximum"}, "mode"),
        ({"num_samples": -2}, "num_samples"),
        ({"scheduler": "ashaa"}, "scheduler"),
        ({"num_sample": 3}, "num_sample"),
        ({"stop": {"acc": "high"}}, "stop.acc"),
        ({"time_budget_s": 0}, "time_budget_s"),
        ({"trial_time_limit_s": -1}, "trial_time_limit_s"),
    ],
)
def test_wrong_values_name_the_argument(values: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ExperimentSpec.parse({"trainable": "json:dumps", **values})
    assert caught.value.argument == argument


def test_arguments_for_run() -> None:
    spec = ExperimentSpec.parse(
        {
            "trainable": "json:dumps",
            "space": {"x": {"uniform": [0, 1]}},
            "metric": "loss",
            "mode": "min",
            "scheduler": "asha",
            "scheduler_options": {"max_t": 9},
            "name": "exp",
        }
    )
    arguments = spec.run_arguments()
    assert arguments["run_or_experiment"] is json.dumps
    assert isinstance(arguments["config"]["x"], Float)
    assert type(arguments["scheduler"]).__name__ == "AsyncHyperBandScheduler"
    assert arguments["search_alg"] is None
    assert (arguments["metric"], arguments["mode"], arguments["name"]) == ("loss", "min", "exp")


def test_every_way_in_has_the_limits() -> None:
    from prefect_tune.flows import tune_experiment

    fields = set(ExperimentSpec.model_fields)
    assert fields == set(inspect.signature(tune_experiment.fn).parameters)
    own = {"trainable", "space", "scheduler_options", "search", "search_options"}
    assert fields - own <= set(inspect.signature(tune.run).parameters)
    limits = {"time_budget_s": 60.0, "trial_time_limit_s": 5.0}
    arguments = ExperimentSpec.parse({"trainable": "json:dumps", **limits}).run_arguments()
    assert limits.items() <= arguments.items()
    assert limits.items() <= tune.Experiment("e", train, **limits).own_arguments.items()


def train(config: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("resume", [True, False, "AUTO", "LOCAL+ERRORED_ONLY"])
def test_resume_and_restore_are_arguments_of_run(resume: bool | str) -> None:
    spec = ExperimentSpec.parse(
        {"trainable": "math:sqrt", "resume": resume, "restore": "s3://bucket/checkpoint_000010"}
    )
    arguments = spec.run_arguments()
    assert (type(arguments["resume"]), arguments["resume"]) == (type(resume), resume)
    assert arguments["restore"] == "s3://bucket/checkpoint_000010"
    assert ExperimentSpec.parse(spec.model_dump(mode="json")) == spec
