"""A few of the runs of `make chaos`: sweeps that are killed lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import run_many
from .rounds import Outcome
from .scenario import INSIDE, LOCAL, SHARED, Kind, Limits
from .services import can_mount
from .summary import report


def check(outcomes: list[Outcome]) -> None:
    assert [report(outcome) for outcome in outcomes if outcome.failed] == []
    # Or else they have shown nothing.
    assert sum(o.findings.acknowledged for o in outcomes) > 0
    assert sum(sum(o.done.values()) for o in outcomes) > 0


def test_killed_sweeps_lose_nothing(tmp_path: Path) -> None:
    limits = Limits(
        storages=[LOCAL],
        clusters=[INSIDE, SHARED],
        kinds=[Kind.TRIAL, Kind.ZYGOTE, Kind.WORKER, Kind.FLOW],
        prefect=0.0,
    )
    check(run_many(tmp_path, range(8), limits, workers=1))


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_sweeps_lose_nothing_whatever_is_killed(tmp_path: Path) -> None:
    limits = Limits() if can_mount() else Limits(clusters=[INSIDE, SHARED])
    check(run_many(tmp_path, range(1000, 1040), limits, workers=2))
