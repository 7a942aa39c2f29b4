"""Checkpoints as the state machine treats them: kept, gone on from, deleted, waited for."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.coordinator.commands import Notice, Record
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    CapacityChanged,
    CheckpointSaved,
    CheckpointsDropped,
    Control,
    ControlReceived,
    Node,
    Resumed,
    Tick,
)
from prefect_tune.coordinator.options import CoordinatorOptions, Retention
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.stopper import NoopStopper

from .harness import (
    Action,
    CheckpointFailed,
    Decide,
    DeleteCheckpoint,
    Launch,
    Notify,
    Outcome,
    Warn,
    World,
)


def started(**options: Any) -> World:
    arguments = {name: options.pop(name) for name in ("scheduler",) if name in options}
    samples, cpus = options.pop("samples", 1), options.pop("cpus", 1)
    world = World(
        options=CoordinatorOptions(lookahead=4, **options), samples=samples, cpus=cpus, **arguments
    )
    world.start()
    return world


def records(world: World) -> list[Any]:
    return [command.event for command in world.of(Record)]


def test_a_checkpoint_is_recorded_then_told():
    world = started()
    world.report("t1", 1)
    commands = world.save("t1", 1, loss=0.5)
    assert [type(c) for c in commands] == [Record, Notify]
    assert isinstance(commands[0].event, CheckpointSaved)
    notice = commands[1]
    assert notice.notice is Notice.CHECKPOINT
    assert notice.checkpoint.progress == Progress(1, 1.0)
    assert notice.checkpoint.metrics["loss"] == 0.5
    assert world.trial("t1").checkpoint.path.endswith("t1/checkpoint_000001")
    assert world.trial("t1").checkpoints == (notice.checkpoint,)
    assert world.save("t1", 1) == []


def test_a_retry_goes_on_from_the_newest_one():
    world = started(max_failures=1)
    world.train("t1", 1, 2)
    world.fail("t1")
    launch = world.running["t1"]
    assert launch.checkpoint == "t1/checkpoint_000002"
    assert launch.progress == Progress(2, 2.0)
    assert launch.checkpoint_suffix == ""
    assert [n.notice for n in world.of(Notify)][-3:] == [
        Notice.TRIAL_RECOVER,
        Notice.TRIAL_START,
        Notice.TRIAL_RESTORE,
    ]


def test_a_checkpoint_of_a_stale_attempt_does_not_count():
    world = started(max_failures=1)
    world.fail("t1")
    assert world.save("t1", 1, attempt=1) == []
    assert world.trial("t1").checkpoints == ()


def test_what_is_not_wanted_any_more_is_deleted_behind_its_record():
    world = started(retention=Retention(1))
    world.train("t1", 1)
    commands = world.save("t1", 2)
    kinds = [
        type(c.event) if isinstance(c, Record) else type(c)
        for c in commands
        if not isinstance(c, Notify)
    ]
    assert kinds == [CheckpointSaved, CheckpointsDropped, DeleteCheckpoint]
    assert commands[-1].path == "t1/checkpoint_000001"
    assert [c.path for c in world.trial("t1").checkpoints] == ["t1/checkpoint_000002"]


def test_what_a_running_attempt_started_from_is_kept_until_it_ends():
    world = started(retention=Retention(1), max_failures=-1)
    world.train("t1", 1)
    world.fail("t1")
    world.train("t1", 2, 3)
    assert [d.path for d in world.of(DeleteCheckpoint)] == ["t1/checkpoint_000002"]
    commands = world.end("t1")
    assert [d.path for d in world.of(DeleteCheckpoint, commands)] == ["t1/checkpoint_000001"]


def test_the_best_by_score_survives():
    world = started(retention=Retention(1, "loss", "min"))
    for iteration, loss in enumerate([3.0, 1.0, 2.0, float("nan"), 4.0], start=1):
        world.train("t1", iteration, loss=loss)
    kept = [c.progress.iteration for c in world.trial("t1").checkpoints]
    assert kept == [2, 5]
    world.end("t1")
    assert [c.progress.iteration for c in world.trial("t1").checkpoints] == [2, 5]


def test_restore_gives_first_attempts_something_to_start_from():
    origin = TrialCheckpoint("s3://elsewhere/checkpoint_000100", Progress(100, 50.0))
    world = started(restore_from=origin, max_failures=-1, retention=Retention(1))
    assert world.running["t1"].checkpoint == origin.path
    assert world.running["t1"].progress == origin.progress
    assert [n.notice for n in world.of(Notify)][-2:] == [Notice.TRIAL_START, Notice.TRIAL_RESTORE]
    world.fail("t1", "restore")
    assert world.running["t1"].checkpoint == origin.path
    assert world.trial("t1").num_failures == 1
    world.train("t1", 101, 102)
    world.fail("t1")
    assert world.running["t1"].checkpoint == "t1/checkpoint_000102"
    assert [d.path for d in world.of(DeleteCheckpoint)] == ["t1/checkpoint_000101"]


# -- uploads that take their time -----------------------------------------------------------------


def test_a_slot_is_free_before_the_uploads_are_done_and_the_fate_waits():
    world = started(samples=2, max_failures=1)
    world.train("t1", 1)
    world.report("t1", 2)
    world.end("t1", Outcome.FAILED, uploading=1)
    assert list(world.running) == ["t2"]
    assert world.status("t1") == "RUNNING"
    world.end("t2")
    assert not world.coordinator.finished
    assert "1 checkpoints of 1 trials" in world.coordinator.waiting_for()
    world.save("t1", 2, attempt=1)
    assert world.running["t1"].checkpoint == "t1/checkpoint_000002"
    assert world.running["t1"].attempt == 2


def test_an_upload_that_fails_settles_it_too():
    world = started(max_failures=1)
    world.train("t1", 1)
    world.end("t1", Outcome.FAILED, uploading=1)
    commands = world.send(CheckpointFailed(world.now, "t1", 1, "t1/checkpoint_000002", "disk full"))
    assert "disk full" in world.of(Warn, commands)[0].message
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    # Something may lie where it was to be.
    assert world.running["t1"].checkpoint_suffix == "_2"


def test_a_failed_upload_of_a_running_trial_ends_nothing():
    world = started()
    world.send(CheckpointFailed(world.now, "t1", 1, "t1/checkpoint_000002", "disk full"))
    assert world.status("t1") == "RUNNING"
    world.end("t1")
    assert world.status("t1") == "TERMINATED"


def test_a_node_that_is_gone_uploads_nothing_more():
    world = started(max_failures=1)
    world.train("t1", 1)
    world.end("t1", Outcome.FAILED, uploading=2)
    node = Node("m", Resources.of(CPU=1))
    world.send(CapacityChanged(world.now, (node, Node("n", Resources.of(CPU=1)))))
    assert "t1" not in world.running
    world.send(CapacityChanged(world.now, (node,)))
    assert world.running["t1"].checkpoint == "t1/checkpoint_000001"
    assert world.running["t1"].checkpoint_suffix == "_2"
    assert world.save("t1", 2, attempt=1) == []


def test_the_end_waits_for_uploads_also_when_everything_is_stopped():
    world = started(samples=2)
    world.end("t1", Outcome.FINISHED, uploading=1)
    world.send(ControlReceived(world.now, Control.STOP))
    world.end("t2", Outcome.STOPPED)
    assert not world.coordinator.finished
    assert world.coordinator.waiting_for()
    world.save("t1", 1, attempt=1)
    assert world.coordinator.finished
    assert world.status("t1") == "TERMINATED"
    assert world.trial("t1").checkpoint is not None


def test_a_second_interrupt_does_not_wait():
    world = started()
    world.end("t1", Outcome.FAILED, uploading=1)
    world.send(ControlReceived(world.now, Control.INTERRUPT, reason="SIGINT"))
    assert not world.coordinator.finished
    world.send(ControlReceived(world.now, Control.INTERRUPT, reason="SIGINT"))
    assert world.coordinator.finished
    assert world.status("t1") == "PENDING"


def test_an_upload_that_nobody_waited_for_any_more_may_have_arrived_after_all():
    world = started()
    world.end("t1", Outcome.FAILED, uploading=1)
    for _ in range(2):
        world.send(ControlReceived(world.now, Control.INTERRUPT, reason="SIGINT"))
    again = Coordinator(FIFOScheduler(), NoopStopper())
    again.replay(True)
    for event in records(world):
        again.handle(event)
    again.replay(False)
    metrics = {"training_iteration": 3}
    again.handle(CheckpointSaved(9e9, "t1", 1, "t1/checkpoint_000003", metrics))
    again.handle(Resumed(9e9))
    live = again.table.live("t1")
    assert live is not None
    start = live.book.start()
    assert start is not None
    assert start.progress.iteration == 3


@pytest.mark.parametrize(
    ("outcome", "status"), [(Outcome.FINISHED, "TERMINATED"), (Outcome.PAUSED, "PAUSED")]
)
def test_after_a_crash_it_is_still_known_how_an_attempt_ended(outcome, status):
    world = started()
    world.train("t1", 1)
    world.end("t1", outcome, uploading=1)
    again = Coordinator(FIFOScheduler(), NoopStopper())
    again.replay(True)
    for event in records(world):
        again.handle(event)
    again.replay(False)
    again.handle(Resumed(9e9))
    trial = again.get_trial("t1")
    assert trial is not None
    assert trial.status == status


# -- pause ----------------------------------------------------------------------------------------


class PauseOnce(FIFOScheduler):
    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.PAUSE if trial.attempt == 1 else self.CONTINUE


def test_a_paused_trial_goes_on_from_its_newest_checkpoint():
    world = started(scheduler=PauseOnce(), samples=2)
    world.report("t1", 1)
    world.save("t1", 1)
    world.end("t1", Outcome.PAUSED)
    assert world.status("t1") == "PAUSED"
    world.end("t2")
    launch = world.running["t1"]
    assert (launch.attempt, launch.checkpoint) == (2, "t1/checkpoint_000001")
    assert world.of(Notify)[-1].notice is Notice.TRIAL_RESTORE


def test_a_paused_trial_without_a_checkpoint_starts_afresh():
    world = started(scheduler=PauseOnce())
    world.report("t1", 1, awaiting=True)
    world.end("t1", Outcome.PAUSED)
    assert world.running["t1"].checkpoint is None
    assert world.running["t1"].progress == Progress()


class PauseAlways(FIFOScheduler):
    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.PAUSE


def pause(world: World, trial_id: str, checkpoint: bool) -> None:
    world.report(trial_id, 1, awaiting=True)
    if checkpoint:
        world.save(trial_id, world.trial(trial_id).attempt)
    world.end(trial_id, Outcome.PAUSED)


def test_a_trial_that_is_paused_before_it_gets_anywhere_is_warned_of_once():
    world = started(scheduler=PauseAlways())
    for checkpoint in (True, False, False):
        pause(world, "t1", checkpoint)
    assert not world.of(Warn)
    for _ in range(9):
        pause(world, "t1", False)
    (warning,) = world.of(Warn)
    assert "t1 was paused 3 times" in warning.message
    assert "again from t1/checkpoint_000001" in warning.message
    assert "at least as often" in warning.message


def test_a_trial_that_writes_one_now_and_then_is_not_warned_of():
    world = started(scheduler=PauseAlways())
    for checkpoint in (False, False, True) * 3:
        pause(world, "t1", checkpoint)
    assert not world.of(Warn)


def test_a_trial_that_finishes_although_it_was_to_pause_is_finished():
    world = started(scheduler=PauseOnce())
    assert world.of(Decide, world.report("t1", 1))[0].action is Action.PAUSE
    world.end("t1", Outcome.FINISHED)
    assert world.status("t1") == "TERMINATED"
    assert world.coordinator.finished


def test_a_trial_that_pauses_although_it_was_to_stop_is_stopped():
    world = started()
    world.coordinator.pause_trial(world.trial("t1"))
    world.send(ControlReceived(world.now, Control.STOP_TRIAL, "t1"))
    world.end("t1", Outcome.PAUSED)
    assert world.status("t1") == "TERMINATED"


def test_pausing_the_trial_that_is_being_judged_answers_it():
    class Own(FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            controller.pause_trial(trial)
            return self.NOOP

    world = started(scheduler=Own())
    answers = world.of(Decide, world.report("t1", 1, awaiting=True))
    assert [(a.seq, a.action) for a in answers] == [(1, Action.PAUSE)]


def test_stopping_the_trial_that_is_being_judged_answers_it():
    class Own(FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            controller.pause_trial(trial)
            controller.stop_trial(trial)
            controller.pause_trial(trial)
            return self.NOOP

    world = started(scheduler=Own())
    answers = world.of(Decide, world.report("t1", 1, awaiting=True))
    assert [(a.seq, a.action) for a in answers] == [(1, Action.STOP)]
    world.end("t1", Outcome.STOPPED)
    assert world.status("t1") == "TERMINATED"


# -- another trial's checkpoint -------------------------------------------------------------------


def exploited(**options: Any) -> World:
    """t1 has checkpoints 1 and 2; t2 is told to go on from the newer one with another config."""
    world = started(samples=2, cpus=2, retention=Retention(1), max_failures=-1, **options)
    world.train("t1", 1, 2)
    coordinator = world.coordinator
    told = coordinator.restore_trial_from(world.trial("t2"), world.trial("t1"), config={"x": 77})
    assert told
    # The commands come with the next event.
    commands = world.send(Tick(world.now))
    assert [(d.trial_id, d.action) for d in world.of(Decide, commands)] == [("t2", Action.PAUSE)]
    return world


def test_a_trial_goes_on_from_another_ones_checkpoint():
    world = exploited()
    world.train("t2", 1)
    world.end("t2", Outcome.PAUSED)
    launch = world.running["t2"]
    assert (launch.checkpoint, launch.config) == ("t1/checkpoint_000002", {"x": 77})
    assert launch.progress == Progress(2, 2.0)
    assert world.trial("t2").config == {"x": 77}
    # It goes on from there until it has one of its own.
    world.fail("t2", "start")
    assert world.running["t2"].checkpoint == "t1/checkpoint_000002"
    world.train("t2", 3)
    world.fail("t2")
    assert world.running["t2"].checkpoint == "t2/checkpoint_000003"


def test_nobody_deletes_what_another_trial_goes_on_from():
    world = exploited()
    world.train("t1", 3)
    assert not world.of(DeleteCheckpoint)[1:]
    world.end("t1")
    world.end("t2", Outcome.PAUSED)
    assert [d.path for d in world.of(DeleteCheckpoint)] == ["t1/checkpoint_000001"]
    world.train("t2", 3)
    # The attempt that started from it still runs.
    assert [d.path for d in world.of(DeleteCheckpoint)] == ["t1/checkpoint_000001"]
    commands = world.fail("t2")
    assert [d.path for d in world.of(DeleteCheckpoint, commands)] == ["t1/checkpoint_000002"]
    assert [c.path for c in world.trial("t1").checkpoints] == ["t1/checkpoint_000003"]


def test_a_trial_that_ends_first_lets_go_of_it():
    world = exploited()
    world.train("t1", 3)
    commands = world.end("t2")
    assert [d.path for d in world.of(DeleteCheckpoint, commands)] == ["t1/checkpoint_000002"]


def test_there_is_nothing_to_take_from_a_trial_without_checkpoints():
    world = started(samples=2, cpus=2)
    first, second = world.trial("t1"), world.trial("t2")
    assert not world.coordinator.restore_trial_from(second, first)
    unknown = TrialCheckpoint("t1/checkpoint_000009")
    assert not world.coordinator.restore_trial_from(second, first, unknown)
    assert not world.of(Decide, world.send(Tick(world.now)))


def test_a_waiting_trial_is_redirected_at_once_and_a_replay_knows_it():
    world = started(samples=2, cpus=1)
    world.train("t1", 1)
    assert world.coordinator.restore_trial_from(
        world.trial("t2"), world.trial("t1"), None, {"x": 7}
    )
    world.send(Tick(world.now))
    again = Coordinator(FIFOScheduler(), NoopStopper())
    again.replay(True)
    for event in records(world):
        again.handle(event)
    again.replay(False)
    trial = again.get_trial("t2")
    assert trial is not None
    assert trial.config == {"x": 7}
    world.end("t1")
    launch = world.of(Launch)[-1]
    assert (launch.trial_id, launch.checkpoint) == ("t2", "t1/checkpoint_000001")


def test_a_score_that_no_checkpoint_has_deletes_none_and_is_warned_about_once():
    options = CoordinatorOptions(retention=Retention(1, "valid_loss"))
    world = World(options=options, samples=1, cpus=1)
    world.start()
    world.train("t1", 1, 2, 3, val_loss=1.0)
    assert not world.of(DeleteCheckpoint)
    (warning,) = world.of(Warn)
    assert "'valid_loss'" in warning.message
    assert "Did you mean `val_loss`?" in warning.message
    world.train("t1", 4, valid_loss=2.0)
    assert len(world.of(DeleteCheckpoint)) == 3
