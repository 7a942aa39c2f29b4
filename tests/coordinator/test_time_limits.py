"""Trials that take too long."""

from __future__ import annotations

import pytest

from prefect_tune.coordinator.events import Control, ControlReceived, Resumed, Tick
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.stopper import TimeoutStopper

from .harness import Decide, Kill, Outcome, Warn, World


def started(samples=1, cpus=1, stopper=None, **options):
    world = World(samples=samples, cpus=cpus, options=CoordinatorOptions(lookahead=4, **options))
    if stopper is not None:
        world = World(samples=samples, cpus=cpus, stopper=stopper, options=world.options)
    world.start()
    return world


def after(world, seconds):
    """Let time pass."""
    world.now += seconds
    return world.send(Tick(world.now))


# -- the time limit of trials ---------------------------------------------------------------------


def test_a_trial_is_ended_at_its_time_limit_and_keeps_its_results():
    world = started(trial_time_limit_s=60)
    world.report("t1", 1)
    assert not world.of(Kill, after(world, 50))
    (kill,) = world.of(Kill, after(world, 10))
    assert kill == Kill("t1", 1, "n", "its time limit of 60 s was over", Outcome.STOPPED)
    assert not world.of(Kill, after(world, 10)), "the ladder is climbed once"
    world.end("t1", Outcome.STOPPED)
    assert world.status("t1") == "TERMINATED"
    assert world.trial("t1").error is None
    assert world.coordinator.finished


def test_a_trial_without_results_has_failed_and_is_not_tried_again():
    world = started(trial_time_limit_s=60, max_failures=3)
    (kill,) = world.of(Kill, after(world, 60))
    assert kill.counts_as is Outcome.FAILED
    world.end("t1", Outcome.STOPPED)
    assert world.status("t1") == "ERROR"
    error = world.trial("t1").error
    assert error is not None
    assert error.kind == "timeout"
    assert error.message == kill.reason
    assert "time limit of 60 s" in error.message


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST])
def test_how_the_process_took_being_ended_does_not_matter(outcome):
    world = started(trial_time_limit_s=60, max_failures=3)
    world.report("t1", 1)
    after(world, 60)
    world.end("t1", outcome)
    assert world.status("t1") == "TERMINATED"


def test_a_trial_that_returns_in_time_has_finished():
    world = started(trial_time_limit_s=60)
    after(world, 60)
    world.end("t1", Outcome.FINISHED)
    assert world.status("t1") == "TERMINATED"


def test_what_waits_uses_no_time_and_attempts_are_added_up():
    world = started(samples=2, trial_time_limit_s=100, max_failures=1)
    after(world, 70)
    world.fail("t1")  # t2 has the slot now
    assert world.status("t1") == "PENDING"
    assert not world.of(Kill, after(world, 80))
    world.end("t2")
    assert world.status("t1") == "RUNNING"
    assert not world.of(Kill, after(world, 20))
    (kill,) = world.of(Kill, after(world, 10))
    assert (kill.trial_id, kill.attempt) == ("t1", 2)


def test_an_interruption_uses_no_time():
    world = started(trial_time_limit_s=100)
    world.now += 40
    world.report("t1", 1)
    world.now += 10_000
    world.send(Resumed(world.now))
    assert not world.of(Kill, after(world, 50))
    assert world.of(Kill, after(world, 20))


def test_a_silent_trial_that_was_being_ended_at_a_crash_has_failed_and_not_terminated():
    world = started(trial_time_limit_s=60)
    after(world, 60)
    world.send(Resumed(world.now))
    assert world.status("t1") == "RUNNING"
    (kill,) = world.of(Kill, after(world, 60))
    assert kill.attempt == 2
    world.end("t1", Outcome.STOPPED)
    assert world.status("t1") == "ERROR"


def test_only_the_first_one_is_told_about():
    world = started(samples=3, cpus=3, trial_time_limit_s=10)
    commands = after(world, 20)
    assert len(world.of(Kill, commands)) == 3
    (warning,) = world.of(Warn, commands)
    assert "10 s, which is its time limit" in warning.message


# -- trials that do not listen --------------------------------------------------------------------


def test_trials_that_do_not_listen_are_ended_by_force():
    world = started(samples=2, cpus=2, stopper=TimeoutStopper(30), stop_patience_s=60)
    after(world, 1)
    world.report("t1", 1)
    commands = after(world, 40)
    assert {decide.trial_id for decide in world.of(Decide, commands)} == {"t1", "t2"}
    world.end("t1", Outcome.STOPPED)
    assert not world.of(Kill, after(world, 50))
    commands = after(world, 20)
    (kill,) = world.of(Kill, commands)
    assert kill.trial_id == "t2"
    assert "told to end" in world.of(Warn, commands)[0].message
    world.end("t2", Outcome.STOPPED)
    assert world.status("t2") == "TERMINATED"
    assert world.coordinator.finished


def test_without_patience_they_are_waited_for():
    world = started(stop_patience_s=0)
    world.send(ControlReceived(world.now, Control.STOP))
    after(world, 1)
    assert not world.of(Kill, after(world, 100_000))


def test_a_trial_that_listened_has_more_time_to_clean_up():
    world = started(stop_patience_s=60, cleanup_s=600)
    world.report("t1", 1, done=True)
    assert world.of(Decide)
    after(world, 1)
    assert not world.of(Kill, after(world, 500))
    commands = after(world, 200)
    assert world.of(Kill, commands)
    assert "cleaning up" in world.of(Warn, commands)[0].message
    world.end("t1", Outcome.STOPPED)
    assert world.status("t1") == "TERMINATED"


def test_an_interrupted_sweep_ends_its_trials_by_itself():
    world = started(trial_time_limit_s=10, stop_patience_s=10)
    world.send(ControlReceived(world.now, Control.INTERRUPT))
    after(world, 100)
    assert not world.of(Kill, after(world, 100))
