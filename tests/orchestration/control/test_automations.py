"""The automations on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect import get_client

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.control.automations import (
    NOTICE,
    RESUME,
    create_automations,
    delete_automations,
    list_automations,
)

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture(autouse=True)
def none_before_and_after(prefect_api: str) -> Iterator[None]:
    delete_automations()
    yield
    delete_automations()


def on_server() -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return {automation.name: automation for automation in client.read_automations()}


def test_created_once_changed_and_deleted() -> None:
    create_automations()
    first = on_server()
    create_automations(silence_s=120)
    second = on_server()
    assert {name: first[name].id for name in (NOTICE, RESUME)} == {
        name: second[name].id for name in (NOTICE, RESUME)
    }
    assert second[NOTICE].trigger.within == timedelta(seconds=120)
    assert [installed.name for installed in list_automations()] == [NOTICE, RESUME]
    assert delete_automations() == [NOTICE, RESUME]
    assert delete_automations() == []
    assert not {NOTICE, RESUME} & set(on_server())


def test_what_somebody_has_switched_off_stays_off() -> None:
    create_automations()
    with get_client(sync_client=True) as client:
        client.pause_automation(on_server()[RESUME].id)
    installed = {automation.name: automation for automation in create_automations()}
    assert installed[NOTICE].enabled
    assert not installed[RESUME].enabled


def test_without_resume_the_second_one_goes() -> None:
    create_automations()
    create_automations(resume=False)
    assert [installed.name for installed in list_automations()] == [NOTICE]


def test_the_number_of_runs_is_bounded() -> None:
    create_automations(max_runs=3)
    match = on_server()[RESUME].trigger.match
    assert match["prefect.run-count"] == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "argument"), [({"silence_s": 5}, "silence_s"), ({"max_runs": 1}, "max_runs")]
)
def test_impossible_options(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        create_automations(**options)
    assert caught.value.argument == argument
