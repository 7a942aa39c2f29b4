"""What the guides' examples share: a cluster on this machine, a directory for results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import prefect_tune as tune


@pytest.fixture(scope="module")
def _machine() -> Iterator[None]:
    # Per module, so that no other test finds it initialised.
    yield
    tune.shutdown()


@pytest.fixture(autouse=True)
def results(_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the examples write to."""
    tune.init(num_cpus=4, num_gpus=2, ignore_reinit_error=True)
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")
    return tmp_path


@pytest.fixture
def no_cluster() -> Iterator[None]:
    """An example begins as a script does, without a cluster."""
    tune.shutdown()
    yield
    tune.shutdown()
