"""Which versions a worker may have."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from prefect_tune.execution.protocol.versions import OLDEST_DASK, mismatch

OURS = {"prefect_tune": "1.2.0", "Python": "3.12", "distributed": "2026.8.0"}


def test_the_oldest_dask_is_that_of_the_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    oldest = ".".join(map(str, OLDEST_DASK))
    assert f"distributed>={oldest}" in project["dependencies"]


@pytest.mark.parametrize("dask", ["2026.1.0", "2026.10.2", "2027.1.0", "2026.8.0+4.g1c2d3e4"])
def test_dask_may_be_another_version(dask):
    assert mismatch({**OURS, "distributed": dask}, OURS) == ""


def test_all_that_differs_is_told():
    here = {"prefect_tune": "1.1.0", "Python": "3.11", "distributed": "2025.12.0"}
    assert mismatch(here, OURS) == (
        "it has prefect_tune 1.1.0 and the driver has 1.2.0; "
        "it has Python 3.11 and the driver has 3.12; "
        "it has distributed 2025.12.0, which is too old"
    )
