"""Names of Ray Tune's integrations."""

from typing import Any

from prefect_tune import not_yet


def __getattr__(name: str) -> Any:
    raise not_yet.no_attribute(__name__, name)
