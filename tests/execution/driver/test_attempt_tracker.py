"""From what nodes say to events."""

from __future__ import annotations

import pickle

import pytest

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CheckpointFailed,
    CheckpointSaved,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.driver.attempt_tracker import AttemptTracker
from prefect_tune.execution.protocol.reports import (
    CheckpointUploaded,
    ProcessEnded,
    ProcessStarted,
    ResultBatch,
    UploadFailed,
)
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.resources import Resources
from prefect_tune.trainable.output import TrialOutput

NODE = "tcp://node:1"
A = AttemptKey("a", 1)


class Listener(AttemptTracker):
    def __init__(self):
        self.events = []
        self.printed = []
        super().__init__("experiment", self.events.append, self.printed.append)

    def launch(self, trial_id="a", attempt=1):
        launch = Launch(trial_id, attempt, trial_id, {"lr": 1}, NODE, Resources.of(CPU=1))
        return self.add(launch, "tag")

    def deliver(self, node, reports):
        for report in reports:
            self.handlers[type(report)](node, report)


@pytest.fixture
def attempts():
    return Listener()


def test_constants_are_merged(attempts):
    attempts.launch()
    attempts.deliver(
        NODE,
        [ProcessStarted(A, 42, "host", "10.0.0.1"), ResultBatch(A, 1, [b'{"x":1}'], False)],
    )
    (result,) = attempts.events[-1].results
    assert result == {
        "x": 1,
        "trial_id": "a",
        "experiment_id": "experiment",
        "experiment_tag": "tag",
        "config": {"lr": 1},
        "hostname": "host",
        "node_ip": "10.0.0.1",
        "pid": 42,
    }


@pytest.mark.parametrize(
    ("node", "trial_id", "attempt"), [("tcp://other:1", "a", 1), (NODE, "b", 1), (NODE, "a", 2)]
)
def test_stale_reports_are_fenced_off(attempts, node, trial_id, attempt):
    attempts.launch()
    attempts.deliver(node, [ResultBatch(AttemptKey(trial_id, attempt), 1, [b"{}"], False)])
    attempts.deliver(node, [ProcessEnded(AttemptKey(trial_id, attempt), "finished")])
    assert attempts.events == []


def test_the_end_is_the_last_word(attempts):
    ended = attempts.launch()
    error = AttemptError("ValueError", "x")
    attempts.deliver(NODE, [ProcessEnded(A, "failed", pickle.dumps(error))])
    attempts.deliver(NODE, [ResultBatch(A, 1, [b"{}"], False)])
    attempts.end(A, Outcome.LOST, None)
    (event,) = attempts.events
    assert (event.outcome, event.error) == (Outcome.FAILED, error)
    assert ended.result(0) == event


def test_a_gap_in_the_results_fails_the_attempt(attempts):
    attempts.launch()
    attempts.deliver(NODE, [ResultBatch(A, 1, [b"{}", b"{}"], False)])
    attempts.deliver(NODE, [ResultBatch(A, 4, [b"{}"], False)])
    assert [type(event) for event in attempts.events] == [ResultReported, AttemptEnded]
    assert "result 3 is missing" in attempts.events[-1].error.message


def test_a_lost_node_takes_its_attempts_along(attempts):
    ended = attempts.launch()
    attempts.lose_node("tcp://other:1", "it burnt down")
    assert not ended.done()
    attempts.lose_node(NODE, "it burnt down")
    assert ended.result(0).outcome is Outcome.LOST
    assert "it burnt down" in ended.result(0).error.message


# -- checkpoints --------------------------------------------------------------------------------


def _saved(path, trial_id="a", attempt=1):
    return CheckpointUploaded(AttemptKey(trial_id, attempt), path, b'{"x":1}')


def _ended(*uploading):
    return ProcessEnded(A, "finished", None, uploading)


def test_checkpoints_of_a_running_attempt(attempts):
    attempts.launch()
    attempts.deliver(NODE, [_saved("a/c1"), UploadFailed(A, "a/c2", "disk full")])
    saved, failed = attempts.events
    assert isinstance(saved, CheckpointSaved)
    assert (saved.trial_id, saved.attempt, saved.path, saved.metrics) == ("a", 1, "a/c1", {"x": 1})
    assert isinstance(failed, CheckpointFailed)
    assert (failed.path, failed.reason) == ("a/c2", "disk full")


def test_what_an_ended_attempt_left_under_way_is_let_through_once(attempts):
    attempts.launch()
    attempts.deliver(NODE, [_ended("a/c1", "a/c2")])
    attempts.deliver("tcp://other:1", [_saved("a/c1")])
    attempts.deliver(NODE, [_saved("a/c9"), _saved("a/c1"), _saved("a/c1")])
    attempts.deliver(NODE, [UploadFailed(A, "a/c2", "too slow"), _saved("a/c2")])
    ended, saved, failed = attempts.events
    assert ended.uploading == 2
    assert (type(saved), saved.path) == (CheckpointSaved, "a/c1")
    assert (type(failed), failed.path) == (CheckpointFailed, "a/c2")


def test_a_lost_node_settles_what_it_had_under_way(attempts):
    attempts.launch()
    attempts.deliver(NODE, [_ended("a/c1", "a/c2"), _saved("a/c1")])
    attempts.lose_node("tcp://other:1", "it burnt down")
    attempts.lose_node(NODE, "it burnt down")
    attempts.lose_all("the end")
    attempts.deliver(NODE, [_saved("a/c2")])
    *_, saved, failed = attempts.events
    assert (type(saved), saved.path) == (CheckpointSaved, "a/c1")
    assert (type(failed), failed.path) == (CheckpointFailed, "a/c2")
    assert "it burnt down" in failed.reason


def test_an_attempt_that_was_given_up_saves_nothing_any_more(attempts):
    attempts.launch()
    attempts.end(A, Outcome.LOST, None)
    attempts.deliver(NODE, [_saved("a/c1"), _ended("a/c2"), _saved("a/c2")])
    assert [type(event) for event in attempts.events] == [AttemptEnded]


def test_output_is_no_event_and_knows_its_node(attempts):
    attempts.launch()
    said = [
        ProcessStarted(A, 42, "host", "10.0.0.1"),
        TrialOutput("a", 1, 42, True, ("one", "two"), 7, "/t/stderr"),
        TrialOutput("", 0, 0, False, ("of any trial",), 0, "/all"),
    ]
    attempts.deliver(NODE, said)
    assert len(attempts.events) == 1
    first, second = attempts.printed
    assert first == TrialOutput("a", 1, 42, True, ("one", "two"), 7, "/t/stderr", "10.0.0.1")
    assert second == TrialOutput("", 0, 0, False, ("of any trial",), 0, "/all")
