"""Simulated time."""

from __future__ import annotations

import pytest

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    CheckpointFailed,
    CheckpointSaved,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.base import TrialPlace
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import Action
from prefect_tune.resources import Resources
from prefect_tune.simulation.attempt import Step
from tests.execution.experiments import make_env

from .full_executor import FullExecutor, SimulatedStorage

NODE = Node("node-1", Resources.of(CPU=2))


def train(config):
    for number in range(config.get("n", 3)):
        yield Step({"x": number}, config.get("seconds", 2.0))


def opened(program=train, **options):
    executor = FullExecutor(program, [NODE], **options)
    events = []
    executor.open(make_env(train, "/nowhere", stop_grace_s=10), events.append)
    return executor, events


def launch(executor, trial_id="a", **config):
    request = Launch(trial_id, 1, trial_id, config, NODE.address, Resources.of(CPU=1))
    return executor.launch(request, TrialPlace(trial_id))


def test_work_takes_simulated_time():
    executor, events = opened(start_s=0.5, now=1000.0)
    launch(executor)
    while executor.step():
        pass
    assert [event.time for event in events] == [1000.0, 1000.5, 1002.5, 1004.5, 1006.5, 1006.5]
    last = events[-2].results[0]
    assert (last["time_total_s"], last["training_iteration"], last["timestamp"]) == (6.0, 3, 1006)


def test_what_happens_first_comes_first():
    executor, events = opened()
    launch(executor, "slow", seconds=5.0, n=2)
    launch(executor, "fast", seconds=2.0, n=4)
    while executor.step():
        pass
    order = [(event.trial_id, event.time) for event in events if isinstance(event, ResultReported)]
    assert order == sorted(order, key=lambda pair: pair[1])
    assert len(order) == 6


def test_a_lost_node_and_a_new_one():
    executor, events = opened()
    ended = launch(executor, n=100)
    executor.at(7.0, lambda: executor.lose_node("node-1"))
    executor.at(8.0, lambda: executor.add_node(Node("node-2", Resources.of(CPU=1))))
    while executor.step():
        pass
    assert ended.result(0).outcome is Outcome.LOST
    assert ended.result(0).time == 7.0
    capacities = [[n.address for n in e.nodes] for e in events if isinstance(e, CapacityChanged)]
    assert capacities == [["node-1"], [], ["node-2"]]
    assert executor.now == 8.0


def test_an_injected_failure():
    executor, _ = opened()
    ended = launch(executor)
    executor.at(3.0, lambda: executor.fail("a", AttemptError("signal", "killed by SIGSEGV")))
    while executor.step():
        pass
    assert ended.result(0).error.kind == "signal"


def test_the_kill_ladder_takes_its_grace_time():
    executor, _ = opened()
    ended = launch(executor, seconds=1000.0)
    executor.step()
    executor.kill([Kill("a", 1, NODE.address, "a test")])
    while not ended.done():
        executor.step()
    assert ended.result(0).outcome is Outcome.STOPPED
    assert ended.result(0).time == 10.0


def test_clean_up_of_the_program_runs():
    cleaned = []

    def program(config):
        try:
            while True:
                yield {"x": 1}
        finally:
            cleaned.append(True)

    executor, events = opened(program)
    launch(executor)
    executor.step()
    executor.close()
    assert cleaned == [True]
    assert isinstance(events[-1], AttemptEnded)


# -- checkpoints ----------------------------------------------------------------------------------


def launch_from(executor, attempt, checkpoint=None, iteration=0, suffix="", **config):
    request = Launch(
        "a",
        attempt,
        "a",
        config,
        NODE.address,
        Resources.of(CPU=1),
        checkpoint=checkpoint,
        progress=Progress(iteration, 2.0 * iteration),
        checkpoint_suffix=suffix,
    )
    return executor.launch(request, TrialPlace("a"))


def test_a_checkpoint_comes_behind_its_result():
    executor, events = opened(checkpoint_every=2)
    launch(executor, n=5)
    while executor.step():
        pass
    kinds = [type(event) for event in events[2:]]
    assert kinds == [
        ResultReported,
        ResultReported,
        CheckpointSaved,
        ResultReported,
        ResultReported,
        CheckpointSaved,
        ResultReported,
        AttemptEnded,
    ]
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [event.path for event in saved] == ["a/checkpoint_000002", "a/checkpoint_000004"]
    assert saved[1].metrics["training_iteration"] == 4
    assert executor.storage.stored == {event.path for event in saved}


def test_an_attempt_goes_on_from_a_checkpoint():
    executor, events = opened(checkpoint_every=2)
    launch_from(executor, 1, n=5)
    while executor.step():
        pass
    events.clear()
    launch_from(executor, 2, "a/checkpoint_000004", 4, "_2", n=7)
    while executor.step():
        pass
    results = [e.results[0] for e in events if isinstance(e, ResultReported)]
    assert [r["x"] for r in results] == [4, 5, 6]
    assert [r["training_iteration"] for r in results] == [5, 6, 7]
    assert [r["iterations_since_restore"] for r in results] == [1, 2, 3]
    assert [r["time_total_s"] for r in results] == [10.0, 12.0, 14.0]
    assert "a/checkpoint_000006_2" in executor.storage.stored


@pytest.mark.parametrize(
    ("mishap", "kind"),
    [
        (lambda storage: storage.delete("a/checkpoint_000004"), "restore"),
        (lambda storage: storage.spoiled.add("a/checkpoint_000004"), "restore"),
        (lambda storage: setattr(storage, "away", True), "storage"),
    ],
)
def test_a_checkpoint_that_cannot_be_had_fails_the_attempt(mishap, kind):
    executor, _ = opened(checkpoint_every=2)
    launch_from(executor, 1, n=5)
    while executor.step():
        pass
    mishap(executor.storage)
    ended = launch_from(executor, 2, "a/checkpoint_000004", 4, n=7)
    while executor.step():
        pass
    assert ended.result(0).outcome is Outcome.FAILED
    assert ended.result(0).error.kind == kind


def test_uploads_settle_behind_the_end_of_their_attempt():
    upload_s = {"a/checkpoint_000002": 3.5, "a/checkpoint_000003": None}.get
    storage = SimulatedStorage(upload_s)

    def program(config):
        for number in range(1, 4):
            yield Step({"x": number}, checkpoint=number > 1)

    executor, events = opened(program, storage=storage)
    ended = launch_from(executor, 1)
    while executor.step():
        pass
    assert ended.result(0).uploading == 2
    late = [(type(e), e.time) for e in events if isinstance(e, CheckpointSaved | CheckpointFailed)]
    assert late == [(CheckpointFailed, 3.0), (CheckpointSaved, 5.5)]


def test_uploads_of_a_lost_node_are_never_heard_of_again():
    storage = SimulatedStorage(lambda path: 100.0)
    executor, events = opened(storage=storage, checkpoint_every=1)
    ended = launch(executor, n=10)
    executor.at(5.0, lambda: executor.lose_node("node-1"))
    while executor.step():
        pass
    assert ended.result(0).uploading == 0
    assert not [e for e in events if isinstance(e, CheckpointSaved | CheckpointFailed)]


def test_a_trial_may_checkpoint_when_it_pauses():
    executor, events = opened()
    launch(executor, n=10)
    executor.at(5.0, lambda: executor.decide([Decide("a", 1, "node-1", 0, Action.PAUSE)]))
    while executor.step():
        pass
    assert [type(e) for e in events[-3:]] == [ResultReported, CheckpointSaved, AttemptEnded]
    assert events[-2].path == "a/checkpoint_000003"
    assert events[-1].outcome is Outcome.PAUSED
