"""Names of Ray Tune's integrations."""

from typing import Any

from prefect_tune._ray import names_to_come


def __getattr__(name: str) -> Any:
    raise names_to_come.no_attribute(__name__, name)
