"""What gets into the journal."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.coordinator.commands import Record
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    CapacityChanged,
    Fate,
    Outcome,
    ResultReported,
    Resumed,
    SearchIdle,
    Tick,
)
from prefect_tune.coordinator.recorder import Recorder
from prefect_tune.experiment.trial import PENDING, TERMINATED
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.stopper import MaximumIterationStopper, NoopStopper

from .harness import World


def recorded(world: World) -> list[Any]:
    return [command.event for command in world.of(Record)]


def test_of_the_ticks_the_last_before_each_record_and_a_heartbeat():
    written: list[Any] = []
    recorder = Recorder(lambda record: written.append(record.event))
    for time in (100.0, 100.5, 101.0):
        recorder.tick(Tick(time))
    assert written == [Tick(100.0)]
    recorder.record(Resumed(101.2))
    assert written == [Tick(100.0), Tick(101.0), Resumed(101.2)]
    recorder.tick(Tick(111.0))
    assert len(written) == 3
    recorder.tick(Tick(111.5))
    assert written[3:] == [Tick(111.5)]
    recorder.muted = True
    recorder.record(Resumed(112.0))
    recorder.tick(Tick(200.0))
    assert len(written) == 4


def test_results_behind_a_stop_are_not_recorded():
    world = World(stopper=MaximumIterationStopper(2), samples=1)
    world.start()
    trial_id, launch = next(iter(world.running.items()))
    results = tuple({"training_iteration": step} for step in range(1, 5))
    world.send(ResultReported(1.0, trial_id, launch.attempt, 1, results, False))
    world.send(ResultReported(1.0, trial_id, launch.attempt, 5, results, False))
    (event,) = (e for e in recorded(world) if isinstance(e, ResultReported))
    assert len(event.results) == 2
    assert event.stop


def test_a_stale_attempt_leaves_no_record():
    world = World(samples=1)
    world.start()
    trial_id = next(iter(world.running))
    before = len(recorded(world))
    world.send(ResultReported(1.0, trial_id, 7, 1, ({"a": 1},), False))
    world.send(AttemptEnded(1.0, trial_id, 7, Outcome.FINISHED))
    assert len(recorded(world)) == before


def test_where_there_was_room_is_recorded_and_the_nodes_are_not():
    world = World(samples=1)
    world.start()
    events = recorded(world)
    assert any(isinstance(event, AttemptLaunched) for event in events)
    assert not any(isinstance(event, CapacityChanged | SearchIdle) for event in events)


@pytest.mark.parametrize(
    ("fate", "status"), [(Fate.TERMINATED, TERMINATED), (Fate.INTERRUPTED, PENDING)]
)
def test_a_replay_takes_fates_from_the_record(fate, status):
    world = World(samples=1)
    world.start()
    trial_id = next(iter(world.running))
    replayed = Coordinator(FIFOScheduler(), NoopStopper())
    replayed.replay(True)
    for event in recorded(world):
        replayed.handle(event)
    replayed.handle(AttemptEnded(5.0, trial_id, 1, Outcome.STOPPED, None, fate))
    trial = replayed.get_trial(trial_id)
    assert trial is not None
    assert trial.status == status


def test_a_resume_queues_what_was_running_and_ends_what_was_told_to_stop():
    world = World(stopper=MaximumIterationStopper(1), samples=2)
    world.start()
    first, second = world.running
    world.report(first, 1)
    replayed = Coordinator(FIFOScheduler(), NoopStopper())
    replayed.replay(True)
    for event in recorded(world):
        replayed.handle(event)
    replayed.replay(False)
    replayed.handle(Resumed(9.0))
    statuses = {trial.trial_id: trial.status for trial in replayed.get_trials()}
    assert statuses == {first: TERMINATED, second: PENDING}
