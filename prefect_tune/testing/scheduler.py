"""Conformance tests for schedulers.

Derive a test class that says how to make the scheduler::

    class TestMine(SchedulerConformance):
        def make_scheduler(self):
            return Mine(metric="score", mode="max")
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.testing.simulation import SimulatedController, Simulation

_NUM_TRIALS = 24


def wobbly_score(index: int, step: int) -> dict[str, Any] | None:
    """Return the metric `score` of a trial at a step, from uneven but reproducible curves."""
    if step > 20 + index % 5:
        return None
    quality = (index * 7919) % 101 / 101
    noise = (index * 31 + step * 17) % 13 / 130
    return {"score": quality * (1 - 0.8**step) + noise}


def uneven_duration(index: int, step: int) -> float:
    """Return a reproducible time between two reports, from 0.5 to 2.25 s."""
    return 0.5 + (index * 13 + step * 5) % 8 / 4


class SchedulerConformance:
    """The tests that every scheduler has to pass; derive a test class from it."""

    def make_scheduler(self) -> TrialScheduler:
        """Return a new scheduler that optimises `score`; equal each time, with its random state."""
        raise NotImplementedError

    def simulate(self, scheduler: TrialScheduler, **options: Any) -> Simulation:
        """Return the simulated experiment of these tests, not yet run."""
        return Simulation(
            wobbly_score,
            num_trials=_NUM_TRIALS,
            scheduler=scheduler,
            slots=4,
            duration=uneven_duration,
            **options,
        )

    def test_every_trial_comes_to_an_end_by_valid_decisions(self) -> None:
        simulation = self.simulate(self.make_scheduler()).run()
        assert simulation.is_over
        assert len(simulation.controller.get_trials()) == _NUM_TRIALS
        assert simulation.controller.get_live_trials() == []
        cls = TrialScheduler
        assert {decision for _, _, decision in simulation.decisions} <= {
            cls.CONTINUE,
            cls.PAUSE,
            cls.STOP,
            cls.NOOP,
        }

    def test_trials_wait_only_where_promised(self) -> None:
        # The simulation raises BrokenPromise at a decision that comes too early.
        streamed = self.simulate(self.make_scheduler()).run()
        awaited = self.simulate(self.make_scheduler(), wait_at_each_result=True).run()
        assert streamed.decisions == awaited.decisions

    def test_failed_attempts_are_retried(self) -> None:
        simulation = self.simulate(
            self.make_scheduler(), failure=lambda index, step: index % 3 == 0 and step in (2, 9)
        ).run()
        assert simulation.is_over
        assert max(trial.attempt for trial in simulation.controller.get_trials()) > 1

    def test_goes_on_from_a_pickled_state(self) -> None:
        whole = self.simulate(self.make_scheduler()).run()
        for cut in (0, 1, 37, 150):
            simulation = self.simulate(self.make_scheduler()).run(max_results=cut)
            state = pickle.dumps(simulation.scheduler.get_state())
            simulation.scheduler = self.make_scheduler()
            simulation.scheduler.set_state(pickle.loads(state))
            assert simulation.run().decisions == whole.decisions

    def test_goes_on_from_a_file(self, tmp_path: Path) -> None:
        whole = self.simulate(self.make_scheduler()).run()
        simulation = self.simulate(self.make_scheduler()).run(max_results=60)
        simulation.scheduler.save(tmp_path / "scheduler.pkl")
        simulation.scheduler = self.make_scheduler()
        simulation.scheduler.restore(tmp_path / "scheduler.pkl")
        assert simulation.run().decisions == whole.decisions

    def test_result_without_the_metric_goes_on(self) -> None:
        self._check_goes_on({"training_iteration": 50, "time_total_s": 500.0, "other": 1})

    def test_result_without_the_time_goes_on(self) -> None:
        self._check_goes_on({"score": 1.0})

    def test_empty_result_goes_on(self) -> None:
        self._check_goes_on({})

    def test_trial_may_end_without_a_result(self) -> None:
        scheduler, controller, trial = self._make_running_trial()
        scheduler.on_trial_complete(controller, trial, {})

    def test_waiting_trial_may_be_removed(self) -> None:
        for status in (PENDING, PAUSED):
            scheduler, controller, trial = self._make_running_trial()
            trial.status = status
            scheduler.on_trial_remove(controller, trial)
            controller.finish(trial)
            assert scheduler.choose_trial_to_run(controller) is None

    def test_chooses_only_what_can_run(self) -> None:
        scheduler, controller, trial = self._make_running_trial()
        assert scheduler.choose_trial_to_run(controller) is None
        trial.status = PENDING
        assert scheduler.choose_trial_to_run(controller) is trial
        controller.free_slots = 0
        assert scheduler.choose_trial_to_run(controller) is None

    def test_second_metric_is_refused(self) -> None:
        scheduler = self.make_scheduler()
        if scheduler.metric is None:
            assert scheduler.set_search_properties("score", None)
        assert scheduler.metric == "score"
        assert not scheduler.set_search_properties("other", None)
        assert scheduler.metric == "score"

    def test_describes_itself(self) -> None:
        scheduler = self.make_scheduler()
        assert scheduler.debug_string()
        self.simulate(scheduler).run(max_results=100)
        assert scheduler.debug_string()

    def _check_goes_on(self, result: dict[str, Any]) -> None:
        scheduler, controller, trial = self._make_running_trial()
        assert scheduler.on_trial_result(controller, trial, result) == TrialScheduler.CONTINUE
        scheduler.on_trial_complete(controller, trial, result)

    def _make_running_trial(self) -> tuple[TrialScheduler, SimulatedController, Trial]:
        scheduler = self.make_scheduler()
        controller = SimulatedController(slots=1)
        trial = Trial("0", {})
        controller.add(trial)
        scheduler.on_trial_add(controller, trial)
        trial.status = RUNNING
        return scheduler, controller, trial
