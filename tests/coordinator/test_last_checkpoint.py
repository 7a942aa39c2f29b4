"""A trial has ended when its last checkpoint is in storage; else it goes on, or has failed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from prefect_tune.coordinator.commands import Decide, Launch, Notice, Notify, Record, Warn
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CheckpointBegun,
    CheckpointFailed,
    CheckpointSaved,
    Control,
    ControlReceived,
    Fate,
    Outcome,
    ResultReported,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import ERROR, PENDING, RUNNING, TERMINATED
from prefect_tune.stopper import MaximumIterationStopper

from .harness import World
from .test_resumption import resumed

KILLED = AttemptError("signal", "killed by signal 9", exit_code=-9)


def world(**options: Any) -> World:
    made = World(
        samples=1,
        stopper=MaximumIterationStopper(3),
        options=CoordinatorOptions(lookahead=1, **options),
    )
    made.start()
    return made


def attempt(world: World) -> int:
    return world.coordinator.get_trials()[0].attempt


def report(world: World, *iterations: int) -> None:
    for iteration in iterations:
        result = {"training_iteration": iteration, "loss": 1.0}
        key = f"t1/{attempt(world)}"
        seq = world.seqs[key] = world.seqs.get(key, 0) + 1
        awaiting = iteration >= 3
        world.send(ResultReported(world.now, "t1", attempt(world), seq, (result,), awaiting))


def save(world: World, iteration: int) -> None:
    path = f"t1/checkpoint_{iteration:06d}_{attempt(world)}"
    metrics = {"training_iteration": iteration}
    world.send(CheckpointSaved(world.now, "t1", attempt(world), path, metrics))


def begin(world: World, iteration: int) -> None:
    world.send(CheckpointBegun(world.now, "t1", attempt(world), iteration))


def lose(world: World, reason: str = "no space", lost: bool = False) -> None:
    world.send(CheckpointFailed(world.now, "t1", attempt(world), "t1/c", reason, lost))


def end(world: World, outcome: Outcome, error: AttemptError | None = None, **more: Any) -> None:
    world.running.pop("t1", None)
    world.send(AttemptEnded(world.now, "t1", attempt(world), outcome, error, **more))


def fates(world: World) -> list[Fate | None]:
    events = [command.event for command in world.of(Record)]
    return [event.fate for event in events if isinstance(event, AttemptEnded)]


def only(world: World) -> Any:
    return world.coordinator.get_trials()[0]


def stopped_while_it_writes(**options: Any) -> World:
    """It has saved its first iteration, and writes the last one."""
    made = world(**options)
    begin(made, 1)
    report(made, 1)
    save(made, 1)
    begin(made, 3)
    report(made, 2, 3)
    return made


def check_repeat(made: World, results: int = 3) -> None:
    """The next attempt goes up to the last result, which is not reported once more."""
    launch = made.of(Launch)[-1]
    assert launch.attempt == 2
    assert launch.run_until.thresholds == (("training_iteration", 3),)
    told = len([c for c in made.of(Notify) if c.notice is Notice.TRIAL_RESULT])
    report(made, 2, 3)
    assert len([c for c in made.of(Notify) if c.notice is Notice.TRIAL_RESULT]) == told
    assert made.of(Decide)[-1].action is Action.STOP
    assert only(made).results_seen == results
    begin(made, 3)
    save(made, 3)
    end(made, Outcome.STOPPED)
    assert only(made).status == TERMINATED
    assert only(made).checkpoints[-1].progress.iteration == 3
    assert made.coordinator.finished


def test_killed_while_it_is_written_the_trial_is_tried_again():
    made = stopped_while_it_writes(max_failures=1)
    end(made, Outcome.FAILED, KILLED)
    assert fates(made) == [Fate.RETRIED]
    assert made.of(Launch)[-1].checkpoint == "t1/checkpoint_000001_1"
    assert only(made).num_failures == 1
    check_repeat(made)


def test_without_another_try_it_has_failed_for_that_reason():
    made = stopped_while_it_writes()
    end(made, Outcome.FAILED, KILLED)
    assert (only(made).status, only(made).error) == (ERROR, KILLED)
    assert made.coordinator.finished


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.STOPPED])
def test_one_that_cannot_be_stored_fails_its_trial(outcome):
    made = stopped_while_it_writes()
    end(made, outcome, uploading=1)
    assert only(made).status == RUNNING
    lose(made, "no space left in the bucket")
    assert only(made).status == ERROR
    assert "no space left in the bucket" in str(only(made).error)


def test_only_the_last_one_counts():
    made = stopped_while_it_writes()
    lose(made)
    save(made, 3)
    end(made, Outcome.STOPPED)
    assert only(made).status == TERMINATED


def test_one_that_is_lost_with_its_node_is_no_failure_of_the_trial():
    made = stopped_while_it_writes()
    end(made, Outcome.STOPPED, uploading=1)
    lose(made, "the worker is lost", lost=True)
    assert fates(made)[-1] is Fate.REQUEUED
    assert only(made).num_failures == 0
    check_repeat(made)


def test_a_stop_means_one_more_where_trials_write_one_at_their_end():
    made = world(saves_at_end=True, max_failures=1)
    report(made, 1, 2, 3)
    end(made, Outcome.FAILED, KILLED)
    assert fates(made) == [Fate.RETRIED]
    check_repeat(made)


def test_nothing_is_due_where_nothing_was_begun():
    made = world()
    report(made, 1, 2, 3)
    end(made, Outcome.FAILED, KILLED)
    assert only(made).status == TERMINATED


def test_the_user_may_leave_checkpoints_on_their_nodes():
    made = stopped_while_it_writes(must_store=False)
    lose(made)
    end(made, Outcome.STOPPED)
    assert only(made).status == TERMINATED


@pytest.mark.parametrize("ended", [None, Outcome.STOPPED, Outcome.FINISHED])
def test_a_driver_that_dies_meanwhile(ended):
    made = stopped_while_it_writes()
    if ended is not None:
        end(made, ended, uploading=1)
    again = resumed(made)
    assert again.of(Launch)[-1].checkpoint == "t1/checkpoint_000001_1"
    check_repeat(again)
    # So a resume of that finds.
    assert only(resumed(again)).status == TERMINATED


def test_a_driver_that_dies_twice():
    once = resumed(stopped_while_it_writes())
    again = resumed(once)
    assert again.of(Launch)[-1].attempt == 3
    assert again.of(Launch)[-1].run_until.thresholds == (("training_iteration", 3),)


def test_what_has_ended_while_the_driver_was_dead_is_written_down():
    made = stopped_while_it_writes()
    save(made, 3)
    again = resumed(made)
    assert fates(again) == [Fate.TERMINATED]
    assert only(again).status == TERMINATED


def test_an_interrupted_sweep_goes_on_with_it():
    made = stopped_while_it_writes()
    made.send(ControlReceived(made.now, Control.INTERRUPT, reason="SIGINT"))
    end(made, Outcome.STOPPED)
    assert (only(made).status, fates(made)) == (PENDING, [Fate.INTERRUPTED])
    assert made.coordinator.finished
    check_repeat(resumed(made))


def test_no_time_is_left_for_a_trial_whose_time_is_over():
    made = stopped_while_it_writes()
    live = made.coordinator.table.live("t1")
    live.overdue = True
    end(made, Outcome.STOPPED)
    assert only(made).status == TERMINATED
    assert "before its last checkpoint" in made.of(Warn)[-1].message


def test_a_repeat_that_fails_as_well_is_a_failure():
    made = stopped_while_it_writes(max_failures=1)
    end(made, Outcome.FAILED, KILLED)
    report(made, 2)
    end(made, Outcome.FAILED, dataclasses.replace(KILLED, message="again"))
    assert (only(made).status, only(made).error.message) == (ERROR, "again")
