"""Conformance tests for stoppers.

Derive a test class that says how to make the stopper::

    class TestMine(StopperConformance):
        def make_stopper(self):
            return Mine("score")
"""

from __future__ import annotations

import pickle
from typing import Any

from prefect_tune.stopper import CombinedStopper, JointStopper, NoopStopper, Stopper
from prefect_tune.testing.scheduler import uneven_duration, wobbly_score
from prefect_tune.testing.simulation import Simulation


class StopperConformance:
    """The tests that every stopper has to pass, with trials that report `score`."""

    def make_stopper(self) -> Stopper:
        """Return a new stopper that needs no metrics but `score` and the auto-filled ones."""
        raise NotImplementedError

    def simulate(self, stopper: Stopper, **options: Any) -> Simulation:
        """Return the simulated experiment of these tests, not yet run."""
        return Simulation(
            wobbly_score,
            num_trials=12,
            stopper=stopper,
            slots=3,
            duration=uneven_duration,
            **options,
        )

    def test_trials_wait_only_where_promised(self) -> None:
        # The simulation raises BrokenPromise at a decision that comes too early.
        streamed = self.simulate(self.make_stopper()).run()
        awaited = self.simulate(self.make_stopper(), wait_at_each_result=True).run()
        assert streamed.decisions == awaited.decisions

    def test_promise_holds_for_retried_trials(self) -> None:
        def fails(index: int, step: int) -> bool:
            return index % 2 == 0 and step in (3, 7)

        streamed = self.simulate(self.make_stopper(), failure=fails).run()
        awaited = self.simulate(self.make_stopper(), failure=fails, wait_at_each_result=True).run()
        assert streamed.decisions == awaited.decisions

    def test_goes_on_from_a_pickled_state(self) -> None:
        whole = self.simulate(self.make_stopper()).run()
        for cut in (0, 1, 23, 60):
            simulation = self.simulate(self.make_stopper()).run(max_results=cut)
            state = pickle.dumps(simulation.stopper.get_state())
            simulation.stopper = self.make_stopper()
            simulation.stopper.set_state(pickle.loads(state))
            assert simulation.run().decisions == whole.decisions

    def test_stops_nothing_before_the_first_result(self) -> None:
        assert self.make_stopper().stop_all() is False

    def test_combined_with_a_stopper_that_never_stops_is_itself(self) -> None:
        alone = self.simulate(self.make_stopper()).run()
        combined = self.simulate(self.make_stopper() | NoopStopper()).run()
        assert combined.decisions == alone.decisions
        assert combined.num_waits == alone.num_waits

    def test_both_it_and_itself_is_itself(self) -> None:
        alone = self.simulate(self.make_stopper()).run()
        both = self.simulate(self.make_stopper() & self.make_stopper()).run()
        assert both.decisions == alone.decisions

    def test_operators_build_composites(self) -> None:
        stopper = self.make_stopper()
        assert type(stopper | NoopStopper()) is CombinedStopper
        assert type(stopper & NoopStopper()) is JointStopper
