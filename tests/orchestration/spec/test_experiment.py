"""The one model of experiments in forms, files and JSON."""

from __future__ import annotations

import datetime
import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.serializers import JSONSerializer
from prefect.utilities.schema_tools import ValidationError, validate

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.recurring import RecurringSpec
from prefect_tune.orchestration.spec.experiment import ExperimentSpec
from prefect_tune.orchestration.spec.files import example, read_spec
from prefect_tune.resources import Resources
from prefect_tune.results.evaluated import read_evaluated
from prefect_tune.schedulers import SCHEDULERS
from prefect_tune.search import SEARCHERS
from prefect_tune.search.libraries.base import LibrarySearcher
from prefect_tune.space import Float

NEEDED = {"trainable": "json:dumps", "metric": "loss", "mode": "min"}


@pytest.mark.parametrize(
    ("values", "argument"),
    [
        ({"mode": "maximum"}, "mode"),
        ({"budget": {"trials": -2}}, "budget.trials"),
        ({"budget": {"hours": 0}}, "budget.hours"),
        ({"budget": {"minutes_per_trial": -1}}, "budget.minutes_per_trial"),
        ({"budget": {"trial": 2}}, "budget.trial"),
        ({"scheduler": "ashaa"}, "scheduler"),
        ({"scheduler": {"kind": "asha", "max_tt": 3}}, "scheduler.asha.max_tt"),
        ({"scheduler": {"kind": "asha", "brackets": "many"}}, "scheduler.asha.brackets"),
        ({"search": {"kind": "optuna", "sampler": "x"}}, "search.optuna.sampler"),
        ({"resources": {"cpu": -1}}, "resources.cpu"),
        ({"resources": {"bundles": []}}, "resources.bundles"),
        ({"resources": {"bundles": [{}], "strategy": "PACKED"}}, "resources.strategy"),
        ({"resources": 3}, "resources"),
        ({"space": [{"name": "x", "domain": {"low": "a", "high": 1}}]}, "space.0.domain.low"),
        ({"num_sample": 3}, "num_sample"),
        ({"stop": [{"metric": "acc", "value": "high"}]}, "stop.0.value"),
        ({"continue_from": {"experiments": []}}, "continue_from.experiments"),
    ],
)
def test_wrong_values_name_the_field(values: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ExperimentSpec.parse({**NEEDED, **values})
    assert caught.value.argument == argument


def test_wrong_kinds_are_told_with_those_that_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"^`scheduler`: there is no 'ashaa'\. Known: fifo"):
        ExperimentSpec.parse({**NEEDED, "scheduler": "ashaa"})
    with pytest.raises(InvalidArgument, match=r"^`search`: there is no 'optunaa'\. Known: random"):
        ExperimentSpec.parse({**NEEDED, "search": "optunaa"})
    with pytest.raises(InvalidArgument, match=r"^`resources`: got 3\. .* one of: One node, "):
        ExperimentSpec.parse({**NEEDED, "resources": 3})


def test_arguments_for_run() -> None:
    spec = ExperimentSpec.parse(
        {
            **NEEDED,
            "space": {"x": {"uniform": [0, 1]}},
            "scheduler": {"kind": "asha", "max_t": 9},
            "budget": {"trials": 3, "hours": 0.5, "minutes_per_trial": 2, "failures": -1},
            "stop": [{"metric": "acc", "value": 0.9}],
            "resources": {"gpu": 0.5, "custom": [{"name": "license", "amount": 1}]},
            "name": "nightly-{date}",
        }
    )
    arguments = spec.run_arguments(datetime.datetime(2026, 3, 4, 5, 6, 7))
    assert arguments["run_or_experiment"] is json.dumps
    assert isinstance(arguments["config"]["x"], Float)
    assert type(arguments["scheduler"]).__name__ == "AsyncHyperBandScheduler"
    assert arguments["time_budget_s"] == 1800
    assert arguments["trial_time_limit_s"] == 120
    assert (arguments["num_samples"], arguments["max_failures"]) == (3, -1)
    assert arguments["stop"] == {"acc": 0.9}
    assert arguments["resources_per_trial"] == {"cpu": 1, "gpu": 0.5, "license": 1}
    assert arguments["name"] == "nightly-2026-03-04"
    assert set(arguments) <= set(inspect.signature(tune.run).parameters)


def test_a_spec_survives_json() -> None:
    spec = ExperimentSpec.parse(
        {
            **NEEDED,
            "space": [{"name": "n", "domain": {"lowest": 1, "highest": 3}}],
            "scheduler": "medianstopping",
            "continue_from": {"resume": "LOCAL", "failed_trials": "restart"},
        }
    )
    assert ExperimentSpec.parse(spec.model_dump(mode="json")) == spec
    assert spec.run_arguments()["resume"] == "LOCAL+RESTART_ERRORED"


def test_a_trial_may_ask_for_several_bundles() -> None:
    bundles = [{"cpu": 1}, {"cpu": 4, "gpu": 1, "custom": [{"name": "license", "amount": 1}]}]
    resources = {"bundles": bundles, "strategy": "STRICT_SPREAD"}
    spec = ExperimentSpec.parse({**NEEDED, "resources": resources})
    assert ExperimentSpec.parse(spec.model_dump(mode="json")) == spec
    request = Resources.parse(spec.run_arguments()["resources_per_trial"])
    assert [dict(bundle) for bundle in request.bundles] == [
        {"CPU": 1},
        {"CPU": 4, "GPU": 1, "license": 1},
    ]
    assert request.strategy == "STRICT_SPREAD"
    spec = ExperimentSpec.parse({**NEEDED, "resources": {"bundles": [{"cpu": 0, "gpu": 1}, {}]}})
    with pytest.raises(InvalidArgument, match="the first bundle, which runs the trial"):
        spec.run_arguments()


def test_the_flow_has_the_fields_of_the_spec() -> None:
    from prefect_tune.flows import tune_experiment

    parameters = inspect.signature(tune_experiment.fn).parameters
    assert list(parameters) == list(ExperimentSpec.model_fields)


@pytest.mark.parametrize("field", ["scheduler", "search"])
def test_the_form_of_a_copied_run_opens_the_tab_of_its_options(field: str) -> None:
    """By the rule of Prefect's form: the first tab with the most of the names."""
    from prefect_tune.flows import tune_experiment

    schema = tune_experiment.parameters.model_dump()
    tabs = [ref["$ref"].split("/")[-1] for ref in schema["properties"][field]["anyOf"]]
    names = {tab: schema["definitions"][tab]["properties"].keys() for tab in tabs}
    for tab, sent in names.items():
        opened = max(tabs, key=lambda other: len(sent & names[other]))
        assert opened == tab
    values = {**NEEDED, field: {"kind": "hyperband" if field == "scheduler" else "auto"}}
    built = ExperimentSpec.parse(values)
    again = ExperimentSpec.parse({**values, field: getattr(built, field).model_dump()})
    again.scheduler.build({})


def test_every_registered_class_is_in_the_form_with_its_options() -> None:
    from prefect_tune.flows import tune_experiment

    schema = tune_experiment.parameters.model_dump()
    for field, registry in (("scheduler", SCHEDULERS), ("search", SEARCHERS)):
        tabs = [ref["$ref"].split("/")[-1] for ref in schema["properties"][field]["anyOf"]]
        assert tabs == [entry.name for entry in registry]
        assert [schema["definitions"][tab]["title"] for tab in tabs] == tabs
    asha = schema["definitions"]["asha"]
    assert asha["properties"]["max_t"]["type"] == "number"
    assert "metric" not in asha["properties"]
    for option in asha["properties"].values():
        assert option["description"]


def test_every_registered_class_can_be_built_from_its_form(tmp_path: Path) -> None:
    policy = tmp_path / "pbt_policy_1.txt"
    policy.write_text(json.dumps(["1", "2", 1, 2, {"x": 1}, {"x": 2}]))
    space = {"x": tune.uniform(0, 1), "n": 3}
    objectives = [{"metric": "loss", "mode": "min"}, {"metric": "speed", "mode": "max"}]
    needed = {
        "pbt_replay": {"policy_file": str(policy)},
        "multi_objective_asha": {"objectives": objectives},
    }
    for entry in SCHEDULERS:
        options = needed.get(entry.name, {})
        spec = ExperimentSpec.parse({**NEEDED, "scheduler": {"kind": entry.name, **options}})
        assert type(spec.scheduler.build(space)) is entry.load()
    for entry in SEARCHERS:
        spec = ExperimentSpec.parse({**NEEDED, "search": entry.name})
        if issubclass(entry.load(), LibrarySearcher):
            try:
                entry.load().load_library()
            except InvalidArgument:
                continue
        assert type(spec.search.build(space)) is entry.load()


def test_fields_that_may_be_empty_are_not_sent_as_null() -> None:
    """Prefect's UI sends null for a field that may be null, also with a schedule."""
    from prefect_tune.flows import recurring_sweep

    fields = recurring_sweep.parameters.model_dump()["properties"]
    assert {"type": "null"} not in [k for field in fields.values() for k in field.get("anyOf", ())]
    schema = recurring_sweep.parameters.model_dump()
    empty = dict.fromkeys(("storage", "cluster", "defaults", "name", "seed", "data"))
    validate({**NEEDED, **empty}, schema, raise_on_error=True)
    with pytest.raises(ValidationError):
        validate({**NEEDED, "seed": "x"}, schema, raise_on_error=True)
    assert RecurringSpec.parse({**NEEDED, **empty}).seed is None


def test_several_objectives_are_a_list_of_metrics_with_modes() -> None:
    from prefect_tune.flows import tune_experiment

    schema = tune_experiment.parameters.model_dump()
    tab = schema["definitions"]["multi_objective_asha"]
    assert tab["required"] == ["objectives"]
    assert tab["properties"]["objectives"]["items"] == {"$ref": "#/definitions/Objective"}
    assert schema["definitions"]["Objective"]["properties"]["mode"]["enum"] == ["min", "max"]
    objectives = [{"metric": "loss", "mode": "min"}, {"metric": "speed", "mode": "max"}]
    options = {"kind": "multi_objective_asha", "objectives": objectives}
    scheduler = ExperimentSpec.parse({**NEEDED, "scheduler": options}).scheduler.build({})
    assert scheduler.set_search_properties("speed", "max")
    with pytest.raises(InvalidArgument, match=r"scheduler.multi_objective_asha.objectives"):
        ExperimentSpec.parse({**NEEDED, "scheduler": {**options, "objectives": objectives[:1]}})


def test_population_based_training_changes_what_is_searched() -> None:
    space = {
        "lr": tune.loguniform(1e-4, 1e-1),
        "units": tune.randint(1, 9),
        "act": tune.grid_search(["relu", "tanh"]),
        "optimizer": {"momentum": tune.uniform(0, 1), "name": "sgd"},
        "epochs": 3,
    }
    pbt = ExperimentSpec.parse({**NEEDED, "scheduler": "pbt"}).scheduler.build(space)
    assert pbt._mutations == {
        "lr": space["lr"],
        "units": space["units"],
        "optimizer": {"momentum": space["optimizer"]["momentum"]},
    }
    # Its model gives real numbers only.
    pb2 = ExperimentSpec.parse({**NEEDED, "scheduler": "pb2"}).scheduler.build(space)
    assert pb2._bounds == {("lr",): (1e-4, 1e-1), ("optimizer", "momentum"): (0, 1)}


@pytest.mark.parametrize("name", ["{run}", "{", "{0}"])
def test_an_unknown_placeholder_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"`name`.*\{date\} and \{time\}"):
        ExperimentSpec.parse({**NEEDED, "name": name}).run_arguments()


def test_the_example_has_every_field_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(example())
    arguments = read_spec(path, {"budget.trials": 2}).run_arguments()
    assert arguments["num_samples"] == 2
    for field in ExperimentSpec.model_fields:
        assert f"\n{field}:" in example() or f"\n# {field}:" in example(), field


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\0"])
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=r"sweep\.yaml"):
        read_spec(path)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_spec(tmp_path / "none.yaml")


def train(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"] ** 2}


def test_a_warm_start_tries_the_best_configurations_first(tmp_path: Path) -> None:
    """It reads the earlier experiments once."""
    earlier = tune.run(
        train,
        config={"x": tune.grid_search([3, -1, 2]), "other": 1},
        metric="loss",
        mode="min",
        name="earlier",
        storage_path=tmp_path,
        orchestrate=False,
        verbose=0,
    )
    spec = ExperimentSpec.parse(
        {
            **NEEDED,
            "space": {"x": {"uniform": [-5, 5]}},
            "continue_from": {"experiments": [earlier.experiment_path], "best": 2},
        }
    )
    source = spec.run_arguments()["search_alg"]
    assert source.points_to_evaluate == [{"x": -1}, {"x": 2}]
    wrong = ExperimentSpec.parse(
        {**NEEDED, "metric": "none", "continue_from": {"experiments": [earlier.experiment_path]}}
    )
    with pytest.raises(InvalidArgument, match=r"no trial of .* reported `none`"):
        wrong.run_arguments()
    for search in ("random", "optuna"):
        elsewhere = ExperimentSpec.parse(
            {
                **NEEDED,
                "search": search,
                "space": {"y": {"uniform": [-5, 5]}, "other": 1},
                "continue_from": {"experiments": [earlier.experiment_path]},
            }
        )
        with pytest.raises(InvalidArgument, match="none of the parameters y"):
            elsewhere.run_arguments()
    model = ExperimentSpec.parse({**spec.model_dump(exclude={"search"}), "search": "optuna"})
    sources = model.run_arguments()["warm_start_from"]
    shutil.rmtree(earlier.experiment_path)
    assert sorted(each.value for each in read_evaluated(sources, "loss")) == [1, 4, 9]


def test_prefect_makes_the_error_of_a_refused_flow_run_again() -> None:
    with pytest.raises(InvalidArgument) as caught:
        ExperimentSpec.parse({**NEEDED, "num_sample": 3})
    serializer = JSONSerializer()
    again = serializer.loads(serializer.dumps(caught.value))
    assert isinstance(again, InvalidArgument)
    assert str(again) == str(caught.value)
