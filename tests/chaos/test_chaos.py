"""A few of the runs of `make chaos`: sweeps that are killed lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import run_many
from .rounds import Outcome
from .scenario import INSIDE, LOCAL, S3, SHARED, Kind, Limits
from .services import can_mount
from .summary import report


def check(outcomes: list[Outcome]) -> None:
    failed = [report(outcome) for outcome in outcomes if outcome.failed]
    assert not failed, "\n".join(failed)
    # Or else they have shown nothing.
    assert sum(o.findings.acknowledged for o in outcomes) > 0
    assert sum(sum(o.done.values()) for o in outcomes) > 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("storage", "seeds"),
    [
        (LOCAL, range(0, 6, 2)),  # each kind of process is killed once
        pytest.param(LOCAL, range(1, 6, 2), marks=pytest.mark.slow),
        pytest.param(S3, range(10, 13), marks=pytest.mark.slow),
    ],
)
def test_killed_sweeps_lose_nothing(storage: str, seeds: range, tmp_path: Path) -> None:
    limits = Limits(
        storages=[storage],
        clusters=[INSIDE, SHARED],
        kinds=[Kind.TRIAL, Kind.ZYGOTE, Kind.WORKER, Kind.FLOW, Kind.STORAGE_ERRORS, Kind.MACHINE],
        prefect=0.0,
    )
    check(run_many(tmp_path, seeds, limits, workers=1))


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_sweeps_lose_nothing_whatever_is_killed(tmp_path: Path) -> None:
    limits = Limits() if can_mount() else Limits(clusters=[INSIDE, SHARED])
    check(run_many(tmp_path, range(1000, 1040), limits, workers=2))
