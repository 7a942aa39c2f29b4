"""Conformance tests for executors.

Derive a test class that says how to make an executor and how to wait for its next event::

    class TestMine(ExecutorConformance):
        def make_executor(self, trainable):
            return Mine(trainable)

        def make_env(self, trainable):
            return ExperimentEnv(...)

        def next_event(self):
            return self.events.get(timeout=30)
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    Event,
    Outcome,
    ResultReported,
)
from prefect_tune.error import InsufficientResources
from prefect_tune.execution.base import Executor, ExperimentEnv, TrialPlace
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, Action, RunUntil
from prefect_tune.resources import Resources

Trainable = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]
_SHARE = Resources.of(CPU=0.1)


def count_up(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Report ``{"x": 0}``, ``{"x": 1}``, ... up to ``config["n"]`` results."""
    for x in range(config["n"]):
        yield {"x": x}


def break_down(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Report once and raise."""
    yield {"x": 0}
    raise ValueError("out of order")


class Run:
    """An open executor, with the events that it has emitted.

    Attributes:
        executor: The executor.
        seen: All events so far.
    """

    def __init__(self, executor: Executor, next_event: Callable[[], Event]) -> None:
        self.executor = executor
        self.seen: list[Event] = []
        self._next_event = next_event

    def launch(
        self,
        trial_id: str,
        *,
        n: int = 3,
        run_until: RunUntil = NEVER,
        attempt: int = 1,
        node: str | None = None,
    ) -> Any:
        """Launch an attempt on the given node, or on the first one."""
        launch = Launch(
            trial_id=trial_id,
            attempt=attempt,
            name=f"trial_{trial_id}",
            config={"n": n},
            node=node or self.executor.capacity()[0].address,
            resources=_SHARE,
            run_until=run_until,
        )
        return self.executor.launch(launch, TrialPlace(f"trial_{trial_id}", "the-tag"))

    def decide(
        self,
        trial_id: str,
        seq: int,
        action: Action,
        run_until: RunUntil = NEVER,
        attempt: int = 1,
    ) -> None:
        """Send a decision to an attempt on the first node."""
        node = self.executor.capacity()[0].address
        self.executor.decide([Decide(trial_id, attempt, node, seq, action, run_until)])

    def until(self, condition: Callable[[Event], bool]) -> Event:
        """Wait for an event that meets a condition, and return it."""
        while True:
            event = self._next_event()
            self.seen.append(event)
            if condition(event):
                return event

    def until_ended(self, *trial_ids: str) -> AttemptEnded:
        """Wait until these trials have ended; return the end of the last one."""
        missing = set(trial_ids)
        while True:
            event = self.until(lambda e: isinstance(e, AttemptEnded))
            assert isinstance(event, AttemptEnded)
            missing.discard(event.trial_id)
            if not missing:
                return event

    def until_awaiting(self, trial_id: str) -> ResultReported:
        """Wait until a trial waits for a decision, and return the result that it waits at."""
        event = self.until(
            lambda e: isinstance(e, ResultReported) and e.awaiting and e.trial_id == trial_id
        )
        assert isinstance(event, ResultReported)
        return event

    def results(self, trial_id: str) -> list[dict[str, Any]]:
        """Return a trial's results so far; check that none is missing, doubled or out of order."""
        results: list[dict[str, Any]] = []
        for event in self.seen:
            if isinstance(event, ResultReported) and event.trial_id == trial_id:
                assert event.first_seq == len(results) + 1
                results += event.results
        return results

    def kinds(self, trial_id: str) -> list[type[Event]]:
        """Return the types of a trial's events so far, in order."""
        return [type(event) for event in self.seen if getattr(event, "trial_id", "") == trial_id]


class ExecutorConformance:
    """The tests that every executor has to pass; derive a test class from it."""

    def make_executor(self, trainable: Trainable) -> Executor:
        """Return a new executor, not yet open, with at least one node that has a CPU."""
        raise NotImplementedError

    def make_env(self, trainable: Trainable) -> ExperimentEnv:
        """Return the environment of an experiment with this trainable."""
        raise NotImplementedError

    def next_event(self) -> Event:
        """Return the next event of `self.events`; wait for it, but not for ever."""
        raise NotImplementedError

    def setup_method(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.errors: list[Exception] = []

    @contextmanager
    def run(self, trainable: Trainable) -> Iterator[Run]:
        """Open an executor, and close it at the end of the `with` statement."""
        self.executor = self.make_executor(trainable)
        try:
            self.executor.open(self.make_env(trainable), self.events.put, self.errors.append)
            run = Run(self.executor, self.next_event)
            run.until(lambda event: isinstance(event, CapacityChanged))
            yield run
        finally:
            self.executor.close()
        assert self.errors == []

    def test_the_first_event_tells_the_capacity(self) -> None:
        with self.run(count_up) as run:
            (event,) = run.seen
            assert isinstance(event, CapacityChanged)
            assert event.nodes == run.executor.capacity()
            assert event.nodes[0].resources["CPU"] >= 1

    def test_an_impossible_request_is_told(self) -> None:
        executor = self.make_executor(count_up)
        executor.validate_request(Resources.of(CPU=0.5))
        with pytest.raises(InsufficientResources, match=r"asks for 1000 CPU, which no node has"):
            executor.validate_request(Resources.of(CPU=1000))
        executor.close()

    def test_an_attempt_starts_reports_and_ends(self) -> None:
        with self.run(count_up) as run:
            ended = run.launch("a", n=50)
            end = run.until_ended("a")
            kinds = run.kinds("a")
            assert kinds[0] is AttemptStarted
            assert set(kinds[1:-1]) == {ResultReported}
            assert (end.outcome, end.error) == (Outcome.FINISHED, None)
            assert [result["x"] for result in run.results("a")] == list(range(50))
            assert ended.result(timeout=10) == end

    def test_results_are_complete(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=2)
            run.until_ended("a")
            first, second = run.results("a")
            assert [first["training_iteration"], second["training_iteration"]] == [1, 2]
            for result in (first, second):
                assert result["trial_id"] == "a"
                assert result["experiment_tag"] == "the-tag"
                assert result["config"] == {"n": 2}
                assert result["done"] is False
                assert {"time_total_s", "timestamp", "pid", "hostname", "node_ip"} <= set(result)

    def test_a_trial_without_reports_ends_too(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=0)
            assert run.until_ended("a").outcome is Outcome.FINISHED
            assert run.kinds("a") == [AttemptStarted, AttemptEnded]

    def test_a_trial_waits_where_a_decision_can_be_made(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=10, run_until=RunUntil((("training_iteration", 3),)))
            assert run.until_awaiting("a").results[-1]["x"] == 2
            run.decide("a", 3, Action.CONTINUE, RunUntil((("x", 6),)))
            assert run.until_awaiting("a").results[-1]["x"] == 6
            run.decide("a", 7, Action.CONTINUE)
            assert run.until_ended("a").outcome is Outcome.FINISHED
            assert len(run.results("a")) == 10

    def test_a_trial_stops_at_the_report_that_is_decided_about(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=10, run_until=EVERY_RESULT)
            run.until_awaiting("a")
            run.decide("a", 1, Action.STOP)
            assert run.until_ended("a").outcome is Outcome.STOPPED
            assert len(run.results("a")) == 1

    def test_a_trial_pauses(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=10, run_until=EVERY_RESULT)
            run.until_awaiting("a")
            run.decide("a", 1, Action.PAUSE)
            assert run.until_ended("a").outcome is Outcome.PAUSED
            run.launch("a", n=1, attempt=2)
            end = run.until_ended("a")
            assert (end.outcome, end.attempt) == (Outcome.FINISHED, 2)

    def test_an_unasked_stop_takes_effect_at_the_next_report(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=100_000_000)
            run.until(lambda event: isinstance(event, ResultReported))
            run.decide("a", 0, Action.STOP)
            assert run.until_ended("a").outcome is Outcome.STOPPED

    def test_a_killed_trial_is_stopped(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=100_000_000)
            run.until(lambda event: isinstance(event, ResultReported))
            node = run.executor.capacity()[0].address
            run.executor.kill([Kill("a", 1, node, "a test")])
            assert run.until_ended("a").outcome is Outcome.STOPPED

    def test_an_exception_is_the_trials_failure(self) -> None:
        with self.run(break_down) as run:
            run.launch("a")
            end = run.until_ended("a")
            assert end.outcome is Outcome.FAILED
            assert end.error is not None
            assert (end.error.kind, end.error.message) == ("ValueError", "out of order")
            assert len(run.results("a")) == 1

    def test_attempts_run_side_by_side(self) -> None:
        with self.run(count_up) as run:
            names = [f"t{number}" for number in range(8)]
            for name in names:
                run.launch(name, n=5, run_until=EVERY_RESULT)
            for name in names:  # all of them wait at the same time
                if name not in self._waiting(run):
                    run.until_awaiting(name)
            assert self._waiting(run) == set(names)
            for name in names:
                run.decide(name, 1, Action.CONTINUE)
            run.until_ended(*names)
            assert all(len(run.results(name)) == 5 for name in names)

    def test_decisions_for_other_attempts_are_ignored(self) -> None:
        with self.run(count_up) as run:
            run.launch("a", n=2, run_until=EVERY_RESULT)
            run.until_awaiting("a")
            run.decide("a", 1, Action.STOP, attempt=2)
            run.decide("unknown", 1, Action.STOP)
            run.decide("a", 1, Action.CONTINUE)
            assert run.until_ended("a").outcome is Outcome.FINISHED
            run.decide("a", 2, Action.STOP)
            run.launch("b", n=1)
            assert run.until_ended("b").outcome is Outcome.FINISHED

    def test_a_node_that_is_not_there_loses_the_attempt(self) -> None:
        with self.run(count_up) as run:
            ended = run.launch("a", node="tcp://192.0.2.1:1")
            end = run.until_ended("a")
            assert end.outcome is Outcome.LOST
            assert end.error is not None
            assert "tcp://192.0.2.1:1" in end.error.message
            assert ended.result(timeout=10) == end

    def test_close_ends_what_runs(self) -> None:
        with self.run(count_up) as run:
            ended = run.launch("a", n=10, run_until=EVERY_RESULT)
            run.until_awaiting("a")
        assert ended.result(timeout=10).outcome is Outcome.LOST
        self.executor.close()  # a second time does no harm

    @staticmethod
    def _waiting(run: Run) -> set[str]:
        return {e.trial_id for e in run.seen if isinstance(e, ResultReported) and e.awaiting}
