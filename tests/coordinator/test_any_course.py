"""Whatever happens, in whatever order: nothing is lost, repeated, deleted in use, or stuck."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.coordinator.events import Control, ControlReceived, EndedPolicy, Resumed
from prefect_tune.coordinator.options import CoordinatorOptions, Retention
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers import (
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    PopulationBasedTraining,
    PromotionASHAScheduler,
    ResourceChangingScheduler,
)
from prefect_tune.stopper import MaximumIterationStopper, NoopStopper
from tests.schedulers.pausing import PausingScheduler

from .sweep import Sweep


class Exploiting(PausingScheduler):
    """Pauses, and has every third pause go on from the checkpoint of the trial before."""

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        answer = super().on_trial_result(controller, trial, result)
        if answer == self.PAUSE and self.num_pauses % 3 == 0:
            trials = controller.get_trials()
            donor = trials[trials.index(trial) - 1]
            config = {**trial.config, "x": trial.config["x"] + 0.01}
            controller.restore_trial_from(trial, donor, config=config)
        return answer


def mixed_uploads(path: str) -> float | None:
    """Some at once, some late and out of order, some never."""
    return (0.0, 2.5, 7.0, 0.5, None)[sum(path.encode()) % 5]


def hyperband() -> HyperBandScheduler:
    return HyperBandScheduler(metric="loss", mode="min", max_t=4, reduction_factor=2)


def hyperband_for_bohb() -> HyperBandScheduler:
    return HyperBandForBOHB(metric="loss", mode="min", max_t=4, reduction_factor=2)


def pbt(synch: bool = False) -> PopulationBasedTraining:
    return PopulationBasedTraining(
        "training_iteration",
        "loss",
        "min",
        perturbation_interval=2,
        hyperparam_mutations={"x": [0.1, 0.3, 0.5]},
        quantile_fraction=0.5,
        require_attrs=False,
        synch=synch,
    )


def pbt_in_step() -> PopulationBasedTraining:
    return pbt(synch=True)


def promotion_asha() -> PromotionASHAScheduler:
    return PromotionASHAScheduler(metric="loss", mode="min", max_t=4, reduction_factor=2)


def alternating(
    controller: ControllerView, trial: Trial, result: dict[str, Any], scheduler: object
) -> dict[str, float]:
    return {"cpu": 1 if result["training_iteration"] % 2 else 0.5}


def resource_changing() -> ResourceChangingScheduler:
    return ResourceChangingScheduler(pbt(), alternating)


SCHEDULERS = [
    FIFOScheduler,
    PausingScheduler,
    Exploiting,
    hyperband,
    hyperband_for_bohb,
    pbt,
    pbt_in_step,
    promotion_asha,
    resource_changing,
]
actions = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 8)),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 5.0, 400.0])),
    st.tuples(st.just("lose"), st.integers(0, 3)),
    st.tuples(st.just("add"), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 3)),
    st.tuples(st.just("start"), st.integers(0, 3)),
    st.tuples(st.just("spoil"), st.integers(0, 30)),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, 5)),
    st.tuples(st.just("snapshot"), st.just(0)),
    st.tuples(st.just("kill"), st.sampled_from(list(EndedPolicy))),
    st.tuples(st.just("only"), st.just(0)),
    st.tuples(st.just("torn"), st.integers(0, 5)),
    st.tuples(st.just("interrupt"), st.just(0)),
    st.tuples(st.just("compare"), st.just(0)),
)


def act(sweep: Sweep, action: str, value: Any) -> None:
    match action:
        case "step":
            for _ in range(value):
                sweep.step()
        case "tick":
            sweep.tick(value)
        case "lose":
            sweep.lose_node(value)
        case "add":
            sweep.add_node()
        case "fail":
            sweep.fail(value)
        case "start":
            sweep.fail(value, "start")
        case "spoil":
            sweep.spoil(value)
        case "away":
            sweep.storage.away = value
        case "stop":
            sweep.stop_trial(value)
        case "snapshot":
            sweep.take_snapshot()
        case "kill":
            sweep.kill(Resumed(sweep.now, value))
        case "only":
            sweep.kill(Resumed(sweep.now, EndedPolicy.RESUME, only_errored=True))
        case "torn":
            sweep.kill(torn=value)
        case "interrupt":
            sweep.interrupt()
        case "compare":
            sweep.check_replay()


class StopsAtOnce(NoopStopper):
    """Ends the experiment as soon as it is told to."""

    wanted = False

    def stop_all(self) -> bool:
        return self.wanted


@pytest.mark.parametrize("by_stopper", [True, False])
def test_whoever_reads_a_stopped_experiment_sees_what_has_ended_while_it_waited(by_stopper):
    stopper = StopsAtOnce()
    options = CoordinatorOptions(max_failures=1, retry_delay_s=1000.0)
    sweep = Sweep(make_stopper=lambda: stopper, options=options)
    for _ in range(4):
        sweep.step()
    sweep.fail(0)
    assert [t.status for t in sweep.coordinator.get_trials()][:2] == ["PENDING", "RUNNING"]
    if by_stopper:
        stopper.wanted = True
        sweep.tick()
    else:
        sweep.handle(ControlReceived(sweep.now, Control.STOP))
    sweep.check_replay()
    stopper.wanted = False
    assert sweep.coordinator.get_trials()[0].status == TERMINATED
    sweep.kill()
    assert not sweep.coordinator.get_trials()[0].is_finished()
    sweep.check_replay()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(actions, max_size=25),
    max_failures=st.integers(-1, 2),
    keep=st.sampled_from([None, 1, 2]),
    by_loss=st.booleans(),
    uploads=st.booleans(),
    delay=st.sampled_from([0.0, 2.0]),
    max_lost=st.integers(0, 2),
    stops=st.booleans(),
)
def test_the_promises_are_kept(
    scheduler, steps, max_failures, keep, by_loss, uploads, delay, max_lost, stops
):
    options = CoordinatorOptions(
        lookahead=2,
        max_failures=max_failures,
        retention=Retention(keep, "loss" if by_loss else None, "min"),
        retry_delay_s=delay,
        max_lost=max_lost,
    )
    sweep = Sweep(
        scheduler,
        (lambda: MaximumIterationStopper(5)) if stops else NoopStopper,
        options,
        upload_s=mixed_uploads if uploads else lambda path: 0.0,
    )
    sweep.settle()
    for action, value in steps:
        act(sweep, action, value)
    sweep.check_replay()
    sweep.run()
    sweep.check_replay()
    sweep.kill()  # also what was left out for a while comes to its end
    sweep.run()
    sweep.check_journal()
    sweep.check_replay()
    trials = sweep.coordinator.get_trials()
    assert [trial.trial_id for trial in trials] == ["t1", "t2", "t3", "t4"]
    assert all(trial.status in (TERMINATED, ERROR) for trial in trials)
    assert sweep.storage.overwritten == []
    for trial in trials:
        assert {c.path for c in trial.checkpoints} <= sweep.storage.stored
        if keep is not None:
            assert len(trial.checkpoints) <= keep + 1
    assert sweep.coordinator.placer.totals()["CPU"][0] == 0
