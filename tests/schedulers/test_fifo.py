from __future__ import annotations

import pytest

from prefect_tune.experiment.decision import EVERY_RESULT, NEVER
from prefect_tune.experiment.trial import PAUSED, RUNNING, Trial
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler
from prefect_tune.testing.simulation import SimulatedController, Simulation


def experiment(*statuses: str) -> tuple[SimulatedController, list[Trial]]:
    controller = SimulatedController(slots=1)
    trials = [Trial(str(number), {}) for number in range(len(statuses))]
    for trial, status in zip(trials, statuses, strict=True):
        trial.status = status
        controller.add(trial)
    return controller, trials


def test_pending_before_paused_in_order_of_creation() -> None:
    controller, trials = experiment("PAUSED", "RUNNING", "PENDING", "PENDING")
    scheduler = FIFOScheduler()
    assert scheduler.choose_trial_to_run(controller) is trials[2]
    trials[2].status = trials[3].status = RUNNING
    assert scheduler.choose_trial_to_run(controller) is trials[0]


def test_trial_that_does_not_fit_is_passed_over() -> None:
    controller, trials = experiment("PENDING", "PENDING", "PAUSED")
    controller.has_resources_for_trial = lambda trial: trial is not trials[0]  # type: ignore[method-assign]
    assert FIFOScheduler().choose_trial_to_run(controller) is trials[1]
    trials[1].status = PAUSED
    assert FIFOScheduler().choose_trial_to_run(controller) is trials[1]


def test_no_trial_ever_waits() -> None:
    simulation = Simulation(lambda index, step: {} if step <= 3 else None, num_trials=5).run()
    assert simulation.num_waits == 0
    assert simulation.num_results == 15
    assert simulation.scheduler.run_until(Trial("0", {})) == NEVER


def test_base_class_promises_nothing_and_cannot_choose() -> None:
    controller, trials = experiment("PENDING")
    scheduler = TrialScheduler()
    assert scheduler.run_until(trials[0]) == EVERY_RESULT
    assert scheduler.on_trial_result(controller, trials[0], {}) == "CONTINUE"
    with pytest.raises(NotImplementedError, match="choose_trial_to_run"):
        scheduler.choose_trial_to_run(controller)


def test_promise_is_not_inherited_by_other_decisions() -> None:
    class Custom(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):  # type: ignore[no-untyped-def]
            return self.STOP

    class Chosen(FIFOScheduler):
        def choose_trial_to_run(self, controller):  # type: ignore[no-untyped-def]
            return None

    assert Custom().run_until(Trial("0", {})) == EVERY_RESULT
    assert Chosen().run_until(Trial("0", {})) == NEVER


def test_decisions_are_rays_strings() -> None:
    assert [TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP] == [
        "CONTINUE",
        "PAUSE",
        "STOP",
    ]
    assert type(TrialScheduler.STOP) is str
    assert TrialScheduler.NOOP == "NOOP"
