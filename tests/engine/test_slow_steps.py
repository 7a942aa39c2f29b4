"""User code that holds the sweep up."""

from __future__ import annotations

import logging

import pytest

from prefect_tune.engine.slow_steps import SlowSteps


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("threshold", "told"), [(0.5, 1), (1.5, 0), (0, 0)])
def test_a_slow_step_is_told_about_once(caplog, threshold, told):
    clock = Clock()
    slow = SlowSteps(threshold, clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with slow.watch("Callbacks", 2):
                clock.now += 1
    assert [record.getMessage() for record in caplog.records] == [
        "Callbacks took 1.0 s for 2 events; the sweep waits meanwhile. This is logged once "
        "(TUNE_WARN_THRESHOLD_S)."
    ] * told
