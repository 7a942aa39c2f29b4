"""Stoppers of one's own that ask others."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.stopper import Stopper, TimeoutStopper


class Asking(Stopper):
    def __init__(self, asked: Any) -> None:
        self.asked = asked

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        asked = self.asked
        members = asked.values() if isinstance(asked, dict) else asked
        return any(s.stop_all() for s in (members if isinstance(asked, (list, dict)) else [asked]))


@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: [s], lambda s: {"a": s}, Asking],
    ids=["one", "list", "dict", "nested"],
)
def test_a_stopper_that_is_only_asked_knows_the_time(wrap: Any) -> None:
    stopper = Asking(wrap(TimeoutStopper(10)))
    stopper.on_time(100.0)
    assert not stopper.stop_all()
    stopper.on_time(105.0)
    stopper.on_resume(1000.0)
    stopper.on_time(1004.0)
    assert not stopper.stop_all()
    stopper.on_time(1005.0)
    assert stopper.stop_all()
