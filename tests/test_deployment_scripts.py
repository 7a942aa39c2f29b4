"""What is in `flows/`: it can be loaded, and its parameters are right."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import cloudpickle
import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.schema_tools import validate

import prefect_tune.flows
from prefect_tune.orchestration.recurring import RecurringSpec
from prefect_tune.orchestration.spec.experiment import ExperimentSpec

FLOWS = Path(__file__).parents[1] / "flows"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"flows_{name}", FLOWS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(FLOWS.glob("*.py")), ids=lambda path: path.stem)
def test_each_script_can_be_loaded(path: Path) -> None:
    load(path.stem)


@pytest.mark.parametrize("name", ["tune_experiment", "recurring_sweep"])
def test_a_served_flow_is_found_again_as_it_is(name: str) -> None:
    given = getattr(prefect_tune.flows, name)
    # `serve` takes one way to the process of a run, `Flow.serve` the other.
    entrypoint = given.to_deployment(name="x").entrypoint
    assert entrypoint is not None
    for found in (load_flow_from_entrypoint(entrypoint), pickle.loads(cloudpickle.dumps(given))):
        assert found.name == given.name
        assert found.persist_result
        assert not found.should_validate_parameters
        signature = inspect.signature(found.fn).parameters
        given_by_prefect = {
            name: parameter.default
            for name, parameter in signature.items()
            if parameter.default is not parameter.empty
        }
        needed = {"trainable": "json:dumps", "metric": "loss", "mode": "min"}
        assert RecurringSpec.parse({**needed, **given_by_prefect}).budget.trials == 10


def test_the_parameters_of_each_deployment_make_a_sweep() -> None:
    deployments = yaml.safe_load((FLOWS / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        recurs = deployment["entrypoint"].endswith("recurring_sweep")
        spec = (RecurringSpec if recurs else ExperimentSpec).parse(deployment["parameters"])
        spec.run_arguments()
    assert len({deployment["name"] for deployment in deployments}) == len(deployments)


def test_a_sweep_that_has_ended_fires_the_trigger_of_what_promotes_it() -> None:
    from prefect.events.schemas.events import Event, Resource
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import ReceivedEvent

    given = load("on_new_data").ON_SWEEP_END
    given.set_deployment_id(uuid4())
    trigger = given.as_automation().trigger
    watching = EventTrigger.model_validate(trigger.model_dump(mode="json", exclude={"id"}))

    def event(**resource: str) -> Any:
        sent = Event(
            event="prefect-tune.sweep.ended",
            resource=Resource.model_validate({"prefect.resource.id": "x", **resource}),
        )
        return ReceivedEvent.model_validate(sent.model_dump())

    good = {"prefect-tune.status": "completed", "prefect-tune.experiment": "data-monday"}
    assert watching.covers(event(**good))
    assert not watching.covers(event(**{**good, "prefect-tune.status": "failed"}))
    assert not watching.covers(event(**{**good, "prefect-tune.experiment": "other"}))


def test_the_form_shows_what_the_parameters_of_each_deployment_choose() -> None:
    """Prefect's UI opens the first tab that has the most of an object's keys."""
    from prefect.server.schemas.actions import DeploymentCreate

    flow = prefect_tune.flows.recurring_sweep
    schema: dict[str, Any] = flow.parameters.model_dump()
    deployments = yaml.safe_load((FLOWS / "prefect.yaml").read_text())["deployments"]
    for given in (deployment["parameters"] for deployment in deployments):
        for field in given.keys() & {"scheduler", "search"}:
            names = [tab["$ref"].split("/")[-1] for tab in schema["properties"][field]["anyOf"]]
            keys = [schema["definitions"][name]["properties"].keys() for name in names]
            matches = [len(given[field].keys() & of) for of in keys]
            assert names[matches.index(max(matches))] == given[field]["kind"]
        validate({**given, **dict.fromkeys(("storage", "seed"))}, schema, raise_on_error=True)
        # The server checks the parameters of a deployment otherwise than those of a run.
        DeploymentCreate(
            name="nightly",
            flow_id=uuid4(),
            parameters=given,
            parameter_openapi_schema=schema,
            enforce_parameter_schema=True,
        )
