"""Steps of a pipeline that are tuned."""

from __future__ import annotations

from prefect import flow, task


@task
def double(x: float) -> float:
    return 2 * x


@flow
def train(x: float) -> dict[str, float]:
    return {"score": double(x)}
