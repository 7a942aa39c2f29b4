"""What becomes of trials whose attempts fail or are lost."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from prefect_tune.coordinator.commands import Notice, Record
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    Control,
    ControlReceived,
    Fate,
    Node,
    Tick,
)
from prefect_tune.coordinator.failure_policy import LONGEST_S, delay_after
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.placement import Placer
from prefect_tune.resources import Resources

from .harness import Kill, Notify, Outcome, TellSearch, Warn, World


def started(**options: Any) -> World:
    samples, cpus = options.pop("samples", 1), options.pop("cpus", 1)
    world = World(options=CoordinatorOptions(lookahead=4, **options), samples=samples, cpus=cpus)
    world.start()
    return world


def until_running(world: World, trial_id: str) -> float:
    """Seconds until a trial runs again."""
    begin = world.now
    while trial_id not in world.running:
        world.send(Tick(world.now))
        assert world.now - begin < 2 * LONGEST_S
    return world.now - begin


# -- lost -----------------------------------------------------------------------------------------


def test_a_lost_node_is_not_the_trials_failure():
    world = started()
    world.lose("t1")
    assert world.status("t1") == "RUNNING"
    assert world.trial("t1").num_failures == 0
    assert world.running["t1"].attempt == 2


def test_a_store_that_is_away_is_not_the_trials_failure():
    world = started(max_failures=0)
    world.train("t1", 1)
    world.lose("t1")
    world.fail("t1", "storage")
    until_running(world, "t1")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    assert world.trial("t1").num_failures == 0


def test_a_trial_that_loses_its_node_again_and_again_has_failed():
    world = started(max_lost=3)
    for _ in range(3):
        world.lose("t1")
        until_running(world, "t1")
    world.lose("t1")
    assert world.status("t1") == "ERROR"
    assert world.coordinator.finished
    assert world.trial("t1").num_failures == 1


def test_behind_the_limit_losses_count_as_failures():
    world = started(max_lost=0, max_failures=1)
    world.lose("t1")
    assert world.trial("t1").num_failures == 1
    world.lose("t1")
    assert world.status("t1") == "ERROR"


def test_a_new_checkpoint_begins_the_count_anew():
    world = started(max_lost=1)
    for iteration in range(1, 6):
        world.train("t1", iteration)
        world.lose("t1")
        assert world.status("t1") == "RUNNING"
    assert world.trial("t1").num_failures == 0


def test_a_lost_trial_that_was_told_to_stop_has_ended():
    world = started(samples=2)
    world.send(ControlReceived(world.now, Control.STOP_TRIAL, "t1"))
    world.lose("t1")
    assert world.status("t1") == "TERMINATED"


def test_after_a_loss_checkpoints_get_other_names():
    world = started()
    world.train("t1", 1)
    world.lose("t1")
    assert world.running["t1"].checkpoint_suffix == "_2"
    world.train("t1", 2)
    world.lose("t1")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000002_2"
    assert world.running["t1"].checkpoint_suffix == "_3"


# -- where it is tried again ----------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST])
def test_a_retry_prefers_another_node(outcome):
    world = World(samples=1, options=CoordinatorOptions(max_failures=1))
    nodes = (Node("n", Resources.of(CPU=4)), Node("m", Resources.of(CPU=1)))
    world.send(CapacityChanged(world.now, nodes))
    assert world.running["t1"].node == "n"
    world.end("t1", outcome)
    assert world.running["t1"].node == "m"


def test_a_retry_takes_the_same_node_if_there_is_no_other():
    placer = Placer()
    placer.update([Node("n", Resources.of(CPU=2)), Node("m", Resources.of(CPU=1))], [])
    wide = Resources.of(CPU=2)
    slot = placer.reserve(wide, avoid="n")
    assert slot is not None
    assert slot.node == "n"


# -- checkpoints that are no good -----------------------------------------------------------------


def test_an_unreadable_checkpoint_is_left_out_and_costs_nothing():
    world = started(max_failures=0)
    world.train("t1", 1, 2)
    world.lose("t1")
    commands = world.fail("t1", "restore")
    assert "t1/checkpoint_000002" in world.of(Warn, commands)[0].message
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    world.fail("t1", "restore")
    assert world.running["t1"].checkpoint is None
    assert world.trial("t1").num_failures == 0
    assert world.trial("t1").checkpoint is None
    assert len(world.trial("t1").checkpoints) == 2
    # Without a checkpoint it can only be the trial.
    world.fail("t1", "restore")
    assert world.status("t1") == "ERROR"


def test_a_checkpoint_whose_attempt_never_reported_is_suspect():
    world = started(max_failures=3)
    world.train("t1", 1, 2)
    world.fail("t1")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000002"
    commands = world.fail("t1")
    assert world.of(Warn, commands)
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    assert world.running["t1"].checkpoint_suffix == "_3"
    # It reports, so its checkpoint was good: the failure has other reasons.
    world.report("t1", 1)
    world.fail("t1")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    assert world.trial("t1").num_failures == 3
    assert all(not c.problem for c in world.trial("t1").checkpoints)


@pytest.mark.parametrize("exit_code", [-signal.SIGKILL, -signal.SIGTERM])
def test_a_checkpoint_is_tried_once_more_if_its_attempt_was_killed(exit_code):
    world = started(max_failures=-1)
    world.train("t1", 1, 2)
    world.fail("t1")
    for _ in range(2):
        assert world.running["t1"].checkpoint == "t1/checkpoint_000002"
        commands = world.fail("t1", "signal", exit_code)
    assert world.of(Warn, commands)
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    world.fail("t1", "signal", exit_code)
    # It is this one's turn now; of the other one nothing is forgotten.
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    world.fail("t1", "signal", -signal.SIGSEGV)
    assert world.running["t1"].checkpoint is None


def test_a_crash_makes_a_suspect_at_once():
    world = started(max_failures=2)
    world.train("t1", 1, 2)
    world.fail("t1")
    world.fail("t1", "signal", -signal.SIGSEGV)
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"


def test_nothing_is_said_of_a_checkpoint_that_is_not_gone_on_from_any_more():
    world = started(max_failures=1)
    world.train("t1", 1)
    world.fail("t1")
    assert not world.of(Warn, world.fail("t1"))
    assert world.status("t1") == "ERROR"


def test_a_process_that_cannot_be_started_says_nothing_about_its_checkpoint():
    world = started(max_failures=2)
    world.train("t1", 1, 2)
    world.fail("t1")
    world.fail("t1", "start")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000002"


# -- delays ---------------------------------------------------------------------------------------


def test_delays_double_up_to_a_limit():
    assert [delay_after(n, 0, 2.0) for n in range(1, 5)] == [2.0, 4.0, 8.0, 16.0]
    assert delay_after(50, 0, 2.0) == LONGEST_S
    assert delay_after(5000, 5000, 0.0) == LONGEST_S
    assert [delay_after(n, 0, 0.0) for n in range(1, 4)] == [0.0, 0.0, 0.0]
    assert [delay_after(n, n, 0.0) for n in range(1, 5)] == [0.0, 1.0, 2.0, 4.0]
    assert delay_after(2, 2, 30.0) == 60.0


def test_a_delayed_trial_holds_no_slot_and_is_not_offered():
    world = started(samples=2, max_failures=1, retry_delay_s=20.0)
    world.fail("t1")
    assert list(world.running) == ["t2"]
    assert not world.coordinator.has_resources_for_trial(world.trial("t1"))
    world.end("t2")
    assert not world.running
    assert not world.coordinator.finished
    assert "tried again in" in world.coordinator.waiting_for()
    assert "ValueError" in world.coordinator.waiting_for()
    assert 15 <= until_running(world, "t1") <= 25
    world.end("t1")
    assert world.coordinator.finished


def test_others_go_first_meanwhile():
    world = started(samples=3, max_failures=1, retry_delay_s=20.0)
    world.fail("t1")
    world.end("t2")
    assert list(world.running) == ["t3"]


def test_a_delayed_trial_can_be_stopped():
    world = started(max_failures=1, retry_delay_s=20.0)
    world.fail("t1")
    world.send(ControlReceived(world.now, Control.STOP_TRIAL, "t1"))
    assert world.status("t1") == "TERMINATED"
    assert world.coordinator.finished


# -- what others are told -------------------------------------------------------------------------


def test_the_search_hears_of_the_final_failure_only():
    world = started(max_failures=1)
    assert not world.of(TellSearch, world.fail("t1"))
    commands = world.fail("t1")
    assert [(tell.complete, tell.error) for tell in world.of(TellSearch, commands)] == [
        (True, True)
    ]
    assert [n.notice for n in world.of(Notify, commands)] == [Notice.TRIAL_ERROR]


def test_retries_without_end():
    world = started(max_failures=-1)
    for attempt in range(2, 60):
        world.fail("t1")
        assert world.running["t1"].attempt == attempt


def test_a_lost_node_does_not_fail_fast():
    world = started(samples=2, cpus=2, fail_fast=True)
    world.lose("t1")
    assert world.status("t2") == "RUNNING"
    world.fail("t2")
    assert world.status("t2") == "ERROR"
    assert world.coordinator.stopping


# -- fail_fast ------------------------------------------------------------------------------------


def test_fail_fast_leaves_one_failed_trial_however_many_fail_at_once():
    world = World(samples=4, options=CoordinatorOptions(lookahead=4, fail_fast=True))
    world.start()
    world.fail("t1")
    world.fail("t2")  # it was told to stop, and did not get that far
    statuses = [world.status(f"t{n}") for n in (1, 2, 3, 4)]
    assert statuses == ["ERROR", "TERMINATED", "PENDING", "PENDING"]
    assert world.trial("t2").error is None
    ends = [c.event for c in world.of(Record) if isinstance(c.event, AttemptEnded)]
    assert [end.error is None for end in ends] == [False, True]
    assert world.coordinator.finished


# -- attempts that were taken back before they had begun -----------------------------------------


def taken_back(world: World, trial_id: str = "t1") -> None:
    world.end(trial_id, Outcome.UNSTARTED)


def test_what_was_taken_back_goes_elsewhere_and_counts_as_nothing():
    world = started(max_failures=0, trial_time_limit_s=100)
    nodes = (
        Node("n", Resources.of(CPU=1), obstacle="it is busy"),
        Node("m", Resources.of(CPU=1)),
    )
    assert world.running["t1"].node == "n"
    world.now += 99
    world.send(CapacityChanged(world.now, nodes))
    taken_back(world)
    assert (world.running["t1"].node, world.running["t1"].attempt) == ("m", 2)
    assert world.trial("t1").num_failures == 0
    assert not [n for n in world.of(Notify) if n.notice is Notice.TRIAL_RECOVER]
    world.send(Tick(world.now))  # its time limit counts from its second attempt
    assert not world.of(Warn)
    world.end("t1")
    assert world.status("t1") == "TERMINATED"


def test_it_says_what_waits_for_whom():
    world = started()
    node = Node("n", Resources.of(CPU=1), held=Resources.of(CPU=1))
    world.send(CapacityChanged(world.now, (node,)))
    taken_back(world)
    assert world.status("t1") == "PENDING"
    assert world.coordinator.waiting_for().endswith(
        "waits for 1 CPU: n has 0 of 1 CPU free (other Dask tasks hold 1 CPU)"
    )


@pytest.mark.parametrize(
    ("action", "finished", "unfinished"),
    [
        (Control.INTERRUPT, True, True),
        (Control.STOP, True, True),
        (Control.STOP_TRIAL, True, False),
    ],
)
def test_what_ends_a_sweep_ends_attempts_that_have_not_begun(action, finished, unfinished):
    world = started()
    trial_id = "t1" if action is Control.STOP_TRIAL else None
    world.send(ControlReceived(world.now, action, trial_id))
    taken_back(world)
    assert world.coordinator.finished
    (end,) = [r.event for r in world.of(Record) if isinstance(r.event, AttemptEnded)]
    # What waits when a sweep is resumed.
    assert (end.fate in (Fate.REQUEUED, Fate.INTERRUPTED)) is unfinished


def test_a_time_limit_does_not_fail_what_has_not_begun():
    world = started(trial_time_limit_s=10)
    world.now += 20
    world.send(Tick(world.now))
    assert world.of(Kill)
    taken_back(world)
    assert world.running["t1"].attempt == 2


# -- export ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status"), [("export", "ERROR"), ("ValueError", "TERMINATED")])
def test_a_trial_that_is_done_has_failed_only_if_its_model_is_missing(kind, status):
    world = started(max_failures=3)
    world.report("t1", 1, done=True)
    world.fail("t1", kind)
    assert world.status("t1") == status
    assert (world.trial("t1").error is None) == (status == "TERMINATED")
