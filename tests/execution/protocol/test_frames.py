"""Frames on a byte stream."""

from __future__ import annotations

import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.execution.protocol.frames import (
    Frame,
    FrameBuffer,
    FrameKind,
    SocketChannel,
    encode,
    encode_decision,
)
from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable.runtime.attempt import Decision

frames = st.lists(
    st.builds(
        Frame, st.sampled_from(list(FrameKind)), st.integers(0, 2**64 - 1), st.binary(max_size=40)
    )
)


@given(frames, st.lists(st.integers(0, 200), max_size=20))
def test_frames_survive_any_cutting_of_the_stream(sent, cuts):
    stream = b"".join(encode(*frame) for frame in sent)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    buffer = FrameBuffer()
    received = []
    for start, end in itertools.pairwise(edges):
        received += buffer.feed(stream[start:end])
    assert received == sent


@pytest.fixture
def channel():
    agent, trial = socket.socketpair()
    with agent, trial:
        yield agent, SocketChannel(trial)


@pytest.mark.parametrize("action", list(Action))
def test_decisions_arrive_in_order(channel, action):
    agent, trial = channel
    assert trial.poll_decision() is None
    first = Decision(3, action, RunUntil((("training_iteration", 9.0), ("a/b", -1.5))))
    second = Decision(0, Action.STOP, RunUntil(every_result=True))
    agent.sendall(encode_decision(first) + encode_decision(second))
    assert trial.wait_decision() == first
    assert trial.poll_decision() == second
    assert trial.poll_decision() is None


def test_a_trial_without_an_agent_does_not_wait(channel):
    agent, trial = channel
    agent.close()
    with pytest.raises(ConnectionError, match="agent"):
        trial.wait_decision()
