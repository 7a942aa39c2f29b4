"""Finding the experiment of a flow run, or saying why it has none."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect import flow

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration.control.sweep_events import directory_of


@pytest.mark.usefixtures("prefect_api")
def test_a_flow_run_that_has_ended_without_a_sweep_says_how() -> None:
    @flow(name="refused")
    def refused() -> None:
        raise ValueError("no such trainable")

    state = refused(return_state=True)
    with pytest.raises(
        InvalidArgument, match=r"ended without a sweep: Failed, .*no such trainable"
    ):
        directory_of(state.state_details.flow_run_id)  # type: ignore[arg-type]


@pytest.mark.usefixtures("prefect_api")
def test_a_flow_run_that_does_not_exist_is_named() -> None:
    missing = uuid4()
    with pytest.raises(InvalidArgument, match=f"there is no flow run {missing}"):
        directory_of(missing)
