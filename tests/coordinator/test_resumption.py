"""What a resumed experiment runs."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.coordinator.commands import Record
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    CapacityChanged,
    CheckpointSaved,
    EndedPolicy,
    Node,
    Outcome,
    Resumed,
)
from prefect_tune.coordinator.options import CoordinatorOptions, Retention
from prefect_tune.coordinator.records import decode_event, encode_event
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.stopper import NoopStopper

from .harness import AskSearch, DeleteCheckpoint, Launch, World


def resumed(world: World, **how: Any) -> World:
    """The same experiment in a new process."""
    again = World(samples=world.samples, cpus=world.cpus, options=world.options)
    again.suggested = world.suggested
    coordinator = Coordinator(FIFOScheduler(), NoopStopper(), world.options)
    coordinator.replay(True)
    for command in world.of(Record):
        assert not [
            c
            for c in coordinator.handle(decode_event(encode_event(command.event)))
            if isinstance(c, (Record, DeleteCheckpoint, AskSearch))
        ]
        assert not coordinator.finished
    coordinator.replay(False)
    again.coordinator = coordinator
    again.log = world.of(Record)
    again.now = world.now + 1000
    again.send(Resumed(again.now, **how))
    again.running.clear()
    again.start()
    return again


def run_two_steps(world: World) -> None:
    """Each trial counts from its checkpoint up by two; trials 2 and 4 fail after the first step."""
    while world.running:
        trial_id = min(world.running)
        first = world.running[trial_id].progress.iteration + 1
        fails = trial_id in ("t2", "t4") and world.running[trial_id].attempt == 1
        world.train(trial_id, *((first,) if fails else (first, first + 1)))
        if fails:
            world.fail(trial_id)
        else:
            world.end(trial_id)


def counts(world: World) -> list[int]:
    return [trial.last_result["training_iteration"] for trial in world.coordinator.get_trials()]


def four_trials() -> World:
    world = World(samples=4, cpus=4, options=CoordinatorOptions(lookahead=4))
    world.start()
    run_two_steps(world)
    assert counts(world) == [2, 1, 2, 1]
    assert world.coordinator.finished
    return world


@pytest.mark.parametrize(
    ("errored", "expected"),
    [
        (EndedPolicy.KEEP, [2, 1, 2, 1]),
        (EndedPolicy.RESUME, [2, 3, 2, 3]),
        (EndedPolicy.RESTART, [2, 2, 2, 2]),
    ],
)
@pytest.mark.parametrize("only", [False, True])
def test_the_iteration_counts_of_errored_trials(errored, expected, only):
    again = resumed(four_trials(), errored=errored, only_errored=only)
    run_two_steps(again)
    assert counts(again) == expected
    assert again.coordinator.finished
    launched = {launch.trial_id for launch in again.of(Launch)}
    assert launched == (set() if errored is EndedPolicy.KEEP else {"t2", "t4"})


@pytest.mark.parametrize(
    ("finished", "expected"),
    [(EndedPolicy.RESUME, [4, 1, 4, 1]), (EndedPolicy.RESTART, [2, 1, 2, 1])],
)
def test_finished_trials_run_again_if_that_is_asked_for(finished, expected):
    again = resumed(four_trials(), finished=finished)
    assert {launch.trial_id for launch in again.of(Launch)} == {"t1", "t3"}
    run_two_steps(again)
    assert counts(again) == expected
    # A resume of this one asks for nothing of the kind.
    assert counts(resumed(again)) == expected


def test_unfinished_trials_begin_again_from_scratch_if_that_is_asked_for():
    world = World(samples=1)
    world.start()
    world.train("t1", 1, 2)
    again = resumed(world, restart_unfinished=True)
    assert again.running["t1"].checkpoint is None
    assert again.trial("t1").last_result == {}
    assert resumed(again).running["t1"].checkpoint is None


def test_a_resume_that_is_resumed_knows_what_was_reset():
    again = resumed(four_trials(), errored=EndedPolicy.RESTART)
    once_more = resumed(again)
    run_two_steps(once_more)
    assert counts(once_more) == [2, 2, 2, 2]


def test_a_reset_trial_has_all_its_retries_again():
    world = World(samples=1, options=CoordinatorOptions(max_failures=1))
    world.start()
    world.fail("t1")
    world.fail("t1")
    again = resumed(world, errored=EndedPolicy.RESUME)
    assert again.running["t1"].attempt == 3
    again.fail("t1")
    again.fail("t1")
    assert again.status("t1") == "ERROR"
    assert again.trial("t1").num_failures == 2


def test_a_restarted_trial_forgets_its_results_and_leaves_old_checkpoints_alone():
    world = World(samples=1, options=CoordinatorOptions(retention=Retention(1)))
    world.start()
    world.train("t1", 1, 2, loss=1.0)
    world.fail("t1")
    again = resumed(world, errored=EndedPolicy.RESTART)
    launch = again.running["t1"]
    assert (launch.checkpoint, launch.checkpoint_suffix) == (None, "_2")
    assert again.trial("t1").metric_analysis == {}
    assert again.trial("t1").checkpoint is None
    assert not again.of(DeleteCheckpoint)[1:]
    again.train("t1", 1)
    assert [c.path for c in again.trial("t1").checkpoints] == ["t1/checkpoint_000001_2"]


def test_after_a_correction_bad_checkpoints_are_tried_once_more():
    world = World(samples=1)
    world.start()
    world.train("t1", 1, 2)
    world.lose("t1")
    for _ in range(3):
        world.fail("t1", "restore")
    assert world.status("t1") == "ERROR"
    again = resumed(world, errored=EndedPolicy.RESUME)
    assert again.running["t1"].checkpoint == "t1/checkpoint_000002"


def test_only_errored_leaves_unfinished_ones_for_later():
    world = World(samples=4, cpus=1, options=CoordinatorOptions(lookahead=4))
    world.start()
    world.fail("t1")
    world.train("t2", 1)
    again = resumed(world, errored=EndedPolicy.RESUME, only_errored=True)
    assert list(again.running) == ["t1"]
    again.end("t1")
    assert again.coordinator.finished
    assert not again.of(AskSearch)
    assert [again.status(f"t{n}") for n in (2, 3, 4)] == ["PENDING"] * 3
    later = resumed(again)
    assert list(later.running) == ["t2"]
    assert later.running["t2"].checkpoint == "t2/checkpoint_000001"
    for trial_id in ("t2", "t3", "t4"):
        later.end(trial_id)
    assert later.coordinator.finished
    assert later.status("t1") == "TERMINATED"


def test_what_ran_goes_on_from_its_checkpoint_under_other_names():
    world = World(samples=1)
    world.start()
    world.train("t1", 1, 2)
    launch = resumed(world).running["t1"]
    assert launch.attempt == 2
    assert launch.checkpoint == "t1/checkpoint_000002"
    assert launch.checkpoint_suffix == "_2"


def test_deletions_are_repeated_and_what_a_crash_left_is_dropped():
    world = World(samples=2, options=CoordinatorOptions(retention=Retention(1)))
    world.start()
    world.train("t1", 1, 2)
    path = "t1/checkpoint_000003"
    saved = CheckpointSaved(world.now, "t1", 1, path, {"training_iteration": 3})
    # The process died between this record and the one that drops what it replaces.
    world.log.append(Record(saved))
    again = resumed(world)
    deleted = [d.path for d in again.of(DeleteCheckpoint)]
    assert deleted == ["t1/checkpoint_000001", "t1/checkpoint_000002"]
    assert again.running["t1"].checkpoint == path


def test_a_replay_keeps_what_was_kept_whatever_the_rules_are_now():
    world = World(samples=1, options=CoordinatorOptions(retention=Retention(1)))
    world.start()
    world.train("t1", 1, 2, 3)
    world.options = CoordinatorOptions()
    again = resumed(world)
    assert [c.progress.iteration for c in again.trial("t1").checkpoints] == [3]


def test_delays_do_not_outlive_the_process():
    world = World(samples=1, options=CoordinatorOptions(max_failures=1, retry_delay_s=100.0))
    world.start()
    world.fail("t1")
    assert not world.running
    assert resumed(world).running["t1"].attempt == 2


def test_a_stopped_trial_stays_terminated():
    world = World(samples=1)
    world.start()
    world.end("t1", Outcome.STOPPED)
    again = resumed(world, errored=EndedPolicy.RESTART)
    assert again.status("t1") == "TERMINATED"
    assert again.coordinator.finished


def test_no_node_is_known_until_it_says_so():
    world = World(samples=1)
    world.start()
    again = resumed(world)
    assert again.running["t1"].node == "n"
    nodes = (Node("n", Resources.of(CPU=2)),)
    assert not again.of(Launch, again.send(CapacityChanged(again.now, nodes)))
