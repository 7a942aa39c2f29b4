"""Integration tests run real trial processes on a real in-process Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import prefect_tune as tune


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Per module, so that no other test finds it initialised."""
    tune.init(num_cpus=4, num_gpus=2)
    yield
    tune.shutdown()


@pytest.fixture
def sweep(cluster: None, tmp_path: Any) -> Any:
    """`tune.run` on a cluster of four CPUs and two declared GPUs, without Prefect."""
    return partial(tune.run, storage_path=str(tmp_path), orchestrate=False, verbose=0)
