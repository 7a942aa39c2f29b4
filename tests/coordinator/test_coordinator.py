"""What the state machine does with events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.coordinator.commands import Notice, Record
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    Control,
    ControlReceived,
    Fate,
    Node,
    ResultReported,
    SearchIdle,
    Tick,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.error import MissingMetric
from prefect_tune.experiment.decision import EVERY_RESULT
from prefect_tune.resources import Resources
from prefect_tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from prefect_tune.stopper import FunctionStopper, NoopStopper, make_stopper
from tests.schedulers.pausing import PausingScheduler

from .harness import (
    Abort,
    Action,
    AttemptError,
    Decide,
    Kill,
    Launch,
    Notify,
    Outcome,
    TellSearch,
    World,
)


def started(**kwargs: Any) -> World:
    world = World(**kwargs)
    world.start()
    return world


def test_launches_as_many_as_fit_and_the_next_when_one_ends():
    world = started(cpus=2, samples=3)
    assert [launch.trial_id for launch in world.of(Launch)] == ["t1", "t2"]
    world.end("t1")
    assert list(world.running) == ["t2", "t3"]
    world.end("t2")
    world.end("t3")
    assert world.coordinator.finished
    assert [t.status for t in world.coordinator.get_trials()] == ["TERMINATED"] * 3


def test_a_stopped_trial_ends_at_the_result_that_stopped_it():
    world = started(stopper=make_stopper({"training_iteration": 2}, None), samples=1)
    world.report("t1", 1)
    commands = world.report("t1", 2, awaiting=True)
    assert world.of(Decide, commands)[0].action is Action.STOP
    assert world.of(TellSearch, commands)[0].complete
    # What it had already sent on is not taken.
    assert not world.of(Notify, world.report("t1", 3))
    world.end("t1", Outcome.STOPPED)
    trial = world.coordinator.get_trial("t1")
    assert trial is not None
    assert trial.last_result["training_iteration"] == 2
    assert trial.last_result["done"] is True
    assert trial.status == "TERMINATED"


def test_the_scheduler_does_not_see_the_result_that_met_a_stopping_criterion():
    seen: list[int] = []

    class Spy(FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            seen.append(result["training_iteration"])
            return self.CONTINUE

    world = started(
        scheduler=Spy(), stopper=make_stopper({"training_iteration": 2}, None), samples=1
    )
    world.report("t1", 1, awaiting=True)
    world.report("t1", 2, awaiting=True)
    assert seen == [1]


def test_every_waiting_report_is_answered():
    world = started(stopper=FunctionStopper(lambda trial_id, result: False), samples=1)
    assert world.of(Launch)[0].run_until == EVERY_RESULT
    for seq in range(1, 4):
        answer = world.of(Decide, world.report("t1", seq, awaiting=True))
        assert [(a.seq, a.action) for a in answer] == [(seq, Action.CONTINUE)]


def test_repeated_and_stale_reports_are_fenced_off():
    world = started(options=CoordinatorOptions(max_failures=1), samples=1)
    world.report("t1", 1, loss=1.0)
    assert not world.of(Notify, world.report("t1", 1, loss=9.0))
    world.end("t1", Outcome.FAILED, AttemptError("ValueError", "no"))
    assert world.running["t1"].attempt == 2
    stale = ResultReported(world.now, "t1", 1, 2, ({"loss": 5.0},), True)
    assert world.send(stale) == []
    assert world.send(AttemptEnded(world.now, "t1", 1, Outcome.FINISHED)) == []
    assert world.status("t1") == "RUNNING"


def test_a_failed_trial_is_retried_behind_the_others_and_then_given_up():
    world = started(options=CoordinatorOptions(max_failures=1, lookahead=4), cpus=1, samples=2)
    error = AttemptError("ValueError", "no")
    world.end("t1", Outcome.FAILED, error)
    assert list(world.running) == ["t2"]
    world.end("t2")
    assert world.running["t1"].attempt == 2
    commands = world.end("t1", Outcome.FAILED, error)
    assert world.status("t1") == "ERROR"
    assert world.of(TellSearch, commands)[0].error
    assert [n.notice for n in world.of(Notify, commands)] == [Notice.TRIAL_ERROR]
    assert world.coordinator.finished


def test_fail_fast_leaves_one_error_and_stops_the_rest():
    world = started(options=CoordinatorOptions(fail_fast=True, lookahead=4), cpus=2, samples=4)
    commands = world.end("t1", Outcome.FAILED, AttemptError("ValueError", "no"))
    assert [(d.trial_id, d.action) for d in world.of(Decide, commands)] == [("t2", Action.STOP)]
    world.end("t2", Outcome.STOPPED)
    statuses = [trial.status for trial in world.coordinator.get_trials()]
    assert statuses == ["ERROR", "TERMINATED", "PENDING", "PENDING"]
    assert world.coordinator.finished


def test_fail_fast_raise_hands_out_the_trials_own_exception():
    import pickle

    world = started(options=CoordinatorOptions(fail_fast="raise"), samples=1)
    error = AttemptError("KeyError", "lr", pickled=pickle.dumps(KeyError("lr")))
    commands = world.end("t1", Outcome.FAILED, error)
    assert isinstance(world.of(Abort, commands)[0].error, KeyError)


@pytest.mark.parametrize("value", ["high", [1], {"deep": 1}])
def test_a_metric_that_is_no_number_ends_the_experiment(value):
    world = started(options=CoordinatorOptions(metrics=("acc",)), samples=1)
    commands = world.report("t1", 1, acc=value, other=1)
    assert isinstance(world.of(Abort, commands)[0].error, MissingMetric)
    assert [kill.trial_id for kill in world.of(Kill, commands)] == ["t1"]


def test_a_result_without_the_metric_names_what_was_reported():
    world = started(options=CoordinatorOptions(metrics=("acc",)), samples=1)
    commands = world.report("t1", 1, accuracy=0.5)
    message = str(world.of(Abort, commands)[0].error)
    assert "'acc'" in message
    assert "['accuracy']" in message
    assert "TUNE_DISABLE_STRICT_METRIC_CHECKING" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, 3, True])
def test_odd_numbers_are_accepted_as_metric(value):
    world = started(options=CoordinatorOptions(metrics=("acc",)), samples=1)
    assert not world.of(Abort, world.report("t1", 1, acc=value))


def test_a_trial_keeps_its_place_until_it_waits_again():
    world = started(samples=1, options=CoordinatorOptions(lookahead=4, max_failures=1))
    world.send(AttemptStarted(1.0, "t1", 1, "n", 77, "host", "10.0.0.1"))
    (trial,) = world.coordinator.get_trials()
    assert trial.location == "10.0.0.1:77"
    world.end("t1", Outcome.FAILED, AttemptError("ValueError", "no"))
    assert trial.location == ""
    world.send(AttemptStarted(1.0, "t1", 2, "n", 78, "host", "10.0.0.2"))
    world.end("t1")
    assert trial.location == "10.0.0.2:78"


def test_a_paused_trial_frees_its_slot_and_goes_on_later():
    class PauseFirst(FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            return self.PAUSE if trial.attempt == 1 else self.CONTINUE

    world = started(scheduler=PauseFirst(), cpus=1, samples=2)
    assert world.of(Decide, world.report("t1", 1, awaiting=True))[0].action is Action.PAUSE
    world.end("t1", Outcome.PAUSED)
    assert world.status("t1") == "PAUSED"
    assert list(world.running) == ["t2"]
    world.end("t2")
    assert world.running["t1"].attempt == 2
    world.end("t1")
    assert world.coordinator.finished


def test_an_interrupt_kills_what_runs_and_leaves_it_unfinished():
    world = started(cpus=1, samples=2)
    commands = world.send(ControlReceived(world.now, Control.INTERRUPT, reason="SIGINT"))
    assert [kill.trial_id for kill in world.of(Kill, commands)] == ["t1"]
    world.end("t1", Outcome.STOPPED)
    assert world.coordinator.finished
    assert world.status("t1") == "PENDING"


def test_a_request_that_nobody_can_serve_says_so():
    world = started(cpus=2, samples=1, request=Resources.parse({"cpu": 1, "gpu": 1}))
    reason = world.coordinator.waiting_for()
    assert "1 GPU" in reason
    assert "no node has" in reason


def test_a_search_that_keeps_everyone_waiting_is_named():
    coordinator = Coordinator(FIFOScheduler(), NoopStopper())
    coordinator.handle(CapacityChanged(0.0, (Node("n", Resources.of(CPU=1)),)))
    assert "has not answered" in coordinator.waiting_for()
    coordinator.handle(SearchIdle(1.0, finished=False))
    assert "suggests no trial for now" in coordinator.waiting_for()
    coordinator.handle(SearchIdle(2.0, finished=True))
    assert not coordinator.waiting_for()


def test_a_scheduler_that_chooses_nothing_is_named():
    class Hesitant(FIFOScheduler):
        def choose_trial_to_run(self, controller: Any) -> None:
            return None

    world = World(scheduler=Hesitant())
    world.start()
    assert "Hesitant chooses none of 3 trials such as trainable_t1" in (
        world.coordinator.waiting_for()
    )


def test_new_capacity_is_used_at_once():
    world = started(cpus=1, samples=3)
    nodes = (Node("n", Resources.of(CPU=1)), Node("m", Resources.of(CPU=1)))
    commands = world.send(CapacityChanged(world.now, nodes))
    assert [launch.node for launch in world.of(Launch, commands)] == ["m"]


def test_a_time_budget_stops_trials_at_their_next_report():
    world = started(stopper=make_stopper(None, 10.0), samples=5, cpus=1)
    world.send(Tick(world.now))
    commands = world.send(Tick(world.now + 100))
    assert [(d.trial_id, d.action) for d in world.of(Decide, commands)] == [("t1", Action.STOP)]
    world.end("t1", Outcome.STOPPED)
    assert world.coordinator.finished


def test_what_waits_when_all_is_stopped_goes_on_waiting():
    world = started(scheduler=PausingScheduler(1), samples=3, cpus=2)
    world.report("t1", 1)
    world.end("t1", Outcome.PAUSED)
    commands = world.send(ControlReceived(world.now, Control.STOP))
    for trial_id in list(world.running):
        commands += world.end(trial_id, Outcome.STOPPED)
    statuses = [trial.status for trial in world.coordinator.get_trials()]
    assert statuses == ["PAUSED", "TERMINATED", "TERMINATED"]
    # Nobody is told that what can go on is complete.
    told = {notice.trial_id for notice in world.of(Notify, commands)}
    assert told == {"t2", "t3"}
    assert world.coordinator.finished


class _EndsTheNext(FIFOScheduler):
    """Ends t2, which waits, at the first result of t1."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        controller.stop_trial(controller.get_trial("t2"))
        return self.CONTINUE


def test_the_journal_says_that_a_waiting_trial_was_ended():
    world = started(scheduler=_EndsTheNext(), samples=2, cpus=1)
    records = [c.event for c in world.of(Record, world.report("t1", 1))]
    assert world.status("t2") == "TERMINATED"
    result, end = records
    assert isinstance(result, ResultReported)
    assert isinstance(end, AttemptEnded)
    assert (end.trial_id, end.attempt, end.fate) == ("t2", 0, Fate.TERMINATED)


@pytest.mark.parametrize("awaiting", [True, False])
def test_a_report_that_is_on_its_way_when_all_is_stopped_counts(awaiting):
    world = started(stopper=make_stopper(None, 10.0), samples=1, cpus=1)
    world.send(Tick(world.now))
    world.send(Tick(world.now + 100))
    world.report("t1", 1, awaiting=awaiting, loss=0.5)
    world.end("t1", Outcome.STOPPED)
    (trial,) = world.coordinator.get_trials()
    assert (trial.status, trial.results_seen, trial.last_result["loss"]) == ("TERMINATED", 1, 0.5)
    (record,) = [c.event for c in world.of(Record) if isinstance(c.event, ResultReported)]
    assert not record.stop


steps = st.lists(
    st.tuples(st.sampled_from(["report", "end", "fail", "lose", "tick"]), st.integers(0, 9))
)


@given(
    steps=steps,
    cpus=st.integers(1, 4),
    samples=st.integers(0, 8),
    max_failures=st.integers(-1, 2),
    asha=st.booleans(),
)
def test_any_course_of_events_keeps_the_promises(steps, cpus, samples, max_failures, asha):
    def scheduler() -> Any:
        if asha:
            return AsyncHyperBandScheduler(metric="loss", mode="min", max_t=9, random_state=0)
        return FIFOScheduler()

    options = CoordinatorOptions(max_failures=max_failures, lookahead=3, max_lost=0)
    world = World(scheduler=scheduler(), options=options, cpus=cpus, samples=samples)
    world.start()
    seqs: dict[tuple[str, int], int] = {}
    for action, pick in steps:
        assert len(world.running) <= cpus
        running = sorted(world.running)
        if action == "tick" or not running:
            world.send(Tick(world.now))
            continue
        trial_id = running[pick % len(running)]
        attempt = world.running[trial_id].attempt
        if action == "report":
            seq = seqs[trial_id, attempt] = seqs.get((trial_id, attempt), 0) + 1
            stops = world.of(Decide, world.report(trial_id, seq, awaiting=True, loss=float(pick)))
            if stops and stops[-1].action is Action.STOP:
                world.end(trial_id, Outcome.STOPPED)
        elif action == "end":
            world.end(trial_id)
        else:
            outcome = Outcome.FAILED if action == "fail" else Outcome.LOST
            world.end(trial_id, outcome, AttemptError("Boom", ""))
    for _ in range(200):
        if world.coordinator.finished:
            break
        if not world.running:  # what was lost again and again is tried later
            world.now += 300
            world.send(Tick(world.now))
            continue
        world.end(min(world.running))
    assert world.coordinator.finished
    trials = world.coordinator.get_trials()
    assert len(trials) == samples
    assert all(trial.status in ("TERMINATED", "ERROR") for trial in trials)
    completions = [tell.trial_id for tell in world.of(TellSearch) if tell.complete]
    assert sorted(completions) == sorted(trial.trial_id for trial in trials)
    if max_failures >= 0:
        assert all(trial.attempt <= max_failures + 1 for trial in trials)
    assert world.coordinator.placer.totals() == {"CPU": (0.0, float(cpus))}
    # The same events lead to the same commands: that is what makes a journal enough.
    again = Coordinator(scheduler(), World().stopper, options)
    assert [command for event in world.events for command in again.handle(event)] == world.log


def test_demand_is_what_would_run_if_there_were_room():
    world = World(options=CoordinatorOptions(lookahead=4), samples=10, cpus=1)
    world.start()
    one = Resources.parse(None)
    assert world.coordinator.demand() == {one: 4}  # beside the one that runs
    world.send(ControlReceived(world.now, Control.STOP))
    assert world.coordinator.demand() == {}


def test_a_limit_of_trials_at_once_bounds_the_demand():
    world = World(options=CoordinatorOptions(lookahead=4, max_running=3), samples=10, cpus=1)
    world.start()
    assert world.coordinator.demand() == {Resources.parse(None): 2}


def test_who_is_told_to_stop_is_told_why():
    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=3)
    world = started(scheduler=scheduler, cpus=1, samples=1)
    (told,) = world.of(Decide, world.report("t1", 3, awaiting=True, loss=1.0))
    assert (told.action, told.reason) == (Action.STOP, "it ran to max_t=3")
