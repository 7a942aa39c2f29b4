"""Simulated time."""

from __future__ import annotations

from prefect_tune.coordinator.commands import Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.base import TrialPlace
from prefect_tune.execution.simulated import SimulatedExecutor, Step
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.resources import Resources

from .experiments import make_env

NODE = Node("node-1", Resources.of(CPU=2))


def train(config):
    for number in range(config.get("n", 3)):
        yield Step({"x": number}, config.get("seconds", 2.0))


def opened(program=train, **options):
    executor = SimulatedExecutor(program, [NODE], **options)
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
