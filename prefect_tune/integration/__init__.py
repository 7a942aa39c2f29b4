"""What connects frameworks to trials."""

from typing import Any

from prefect_tune._ray import paths


def __getattr__(name: str) -> Any:
    return paths.attribute(__name__, name)
