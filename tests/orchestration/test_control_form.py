"""The form that controls a sweep."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from prefect_tune import control
from prefect_tune.orchestration.control_form import Action

FORM: TypeAdapter[Any] = TypeAdapter(Action)


@pytest.mark.parametrize(
    ("given", "called", "arguments"),
    [
        ({"kind": "pause"}, "pause", ("e",)),
        ({"kind": "resume"}, "resume", ("e",)),
        ({"kind": "stop"}, "stop", ("e",)),
        ({"kind": "cancel"}, "cancel", ("e",)),
        ({"kind": "stop-trial", "trial": "t"}, "stop_trial", ("e", "t")),
        ({"kind": "add-samples", "samples": 3}, "add_samples", ("e", 3)),
        ({"kind": "set", "max_concurrent": 2}, "set", ("e",)),
    ],
)
def test_each_tab_does_what_it_says(
    given: Any, called: str, arguments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def record(*args: Any, **_: Any) -> str:
        calls.append(args)
        return "done"

    monkeypatch.setattr(control, called, record)
    assert FORM.validate_python(given).ask("e") == "done"
    assert calls == [arguments]


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="sample"):
        FORM.validate_python({"kind": "add-samples", "sample": 3})


def test_the_form_has_a_tab_for_each_verb_and_no_json() -> None:
    from prefect_tune.flows import control_sweep

    schema = control_sweep.parameters.model_dump()
    tabs = schema["properties"]["action"]["anyOf"]
    titles = [schema["definitions"][tab["$ref"].split("/")[-1]]["title"] for tab in tabs]
    assert titles == [
        *("Pause", "Resume", "Stop", "Cancel", "Stop a trial", "Add samples", "Set limits")
    ]


@pytest.mark.usefixtures("prefect_api")
def test_the_state_of_its_flow_run_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_tune.flows import control_sweep

    monkeypatch.setattr(control, "pause", lambda experiment: f"{experiment} paused")
    state = control_sweep("e", return_state=True)
    assert state.message == state.result() == "e paused"
