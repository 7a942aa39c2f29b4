"""What is in `flows/`: it can be loaded, and its parameters are right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
import yaml

from prefect_tune.orchestration.recurring import RecurringSpec
from prefect_tune.orchestration.spec import ExperimentSpec

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
