"""The scheduler that pauses all the time."""

from __future__ import annotations

from prefect_tune.testing.simulation import Simulation
from tests.schedulers.pausing import PausingScheduler


def test_trials_take_turns():
    simulation = Simulation(
        lambda index, step: {} if step <= 5 else None,
        num_trials=3,
        scheduler=PausingScheduler(slice_length=2),
        slots=1,
        pending=3,
    ).run()
    turns = [trial_id[-1] for trial_id, _, _ in simulation.decisions]
    assert "".join(turns) == "001122" + "001122" + "012"
    assert simulation.scheduler.debug_string().endswith("num_pauses=6.")
