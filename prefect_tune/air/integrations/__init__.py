"""Ray AIR's path of the integrations, which are still to come."""

from typing import Any

from prefect_tune import not_yet


def __getattr__(name: str) -> Any:
    raise not_yet.no_attribute(__name__, name)
