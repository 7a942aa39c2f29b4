"""Events survive the journal."""

import dataclasses
import math
import threading

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    AttemptStarted,
    CheckpointFailed,
    CheckpointSaved,
    CheckpointsDropped,
    Control,
    ControlReceived,
    EndedPolicy,
    Fate,
    Outcome,
    ResultReported,
    Resumed,
    Tick,
    TrialRedirected,
    TrialSuggested,
)
from prefect_tune.coordinator.records import decode_event, encode_event
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.resources import PlacementGroupFactory, Resources

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
configs = st.dictionaries(st.text(min_size=1), plain, max_size=4)
times = st.floats(0, 2e9)
errors = st.none() | st.builds(
    AttemptError,
    kind=st.text(),
    message=st.text(),
    traceback=st.text(),
    exit_code=st.none() | st.integers(-64, 255),
    pickled=st.none() | st.binary(),
)
events = st.one_of(
    st.builds(
        TrialSuggested,
        time=times,
        trial_id=st.text(min_size=1),
        config=configs,
        resolved=configs,
        experiment_tag=st.text(),
        resources=st.sampled_from(
            [
                Resources.parse({"cpu": 0.5, "gpu": 2}),
                Resources.parse(PlacementGroupFactory([{}, {"CPU": 1}, {"GPU": 0.5}], "SPREAD")),
            ]
        ),
        relative_logdir=st.text(),
        custom_name=st.none() | st.text(),
        told=st.integers(0, 10**6),
    ),
    st.builds(
        AttemptStarted,
        time=times,
        trial_id=st.text(),
        attempt=st.integers(1, 9),
        node=st.text(),
        pid=st.integers(1, 2**22),
        hostname=st.text(),
        node_ip=st.text(),
    ),
    st.builds(
        ResultReported,
        time=times,
        trial_id=st.text(),
        attempt=st.integers(1, 9),
        first_seq=st.integers(1, 10**6),
        results=st.lists(configs, min_size=1, max_size=3).map(tuple),
        awaiting=st.booleans(),
        stop=st.booleans(),
    ),
    st.builds(
        AttemptEnded,
        time=times,
        trial_id=st.text(),
        attempt=st.integers(1, 9),
        outcome=st.sampled_from(Outcome),
        error=errors,
        fate=st.none() | st.sampled_from(Fate),
        uploading=st.integers(0, 3),
    ),
    st.builds(
        CheckpointSaved,
        time=times,
        trial_id=st.text(),
        attempt=st.integers(1, 9),
        path=st.text(),
        metrics=configs,
    ),
    st.builds(
        CheckpointFailed,
        time=times,
        trial_id=st.text(),
        attempt=st.integers(1, 9),
        path=st.text(),
        reason=st.text(),
    ),
    st.builds(
        CheckpointsDropped,
        time=times,
        trial_id=st.text(),
        paths=st.lists(st.text(), max_size=3).map(tuple),
    ),
    st.builds(
        TrialRedirected,
        time=times,
        trial_id=st.text(),
        source_id=st.text(),
        checkpoint=st.builds(
            TrialCheckpoint,
            path=st.text(),
            progress=st.builds(Progress, st.integers(0, 9), times, st.none() | times),
            metrics=configs,
            time=times,
            problem=st.text(),
        ),
        config=st.none() | configs,
    ),
    st.builds(AttemptLaunched, time=times, trial_id=st.text(), attempt=st.integers(1, 9)),
    st.builds(
        Resumed,
        time=times,
        errored=st.sampled_from(EndedPolicy),
        only_errored=st.booleans(),
        finished=st.sampled_from(EndedPolicy),
        restart_unfinished=st.booleans(),
    ),
    st.builds(
        ControlReceived,
        time=times,
        action=st.sampled_from(Control),
        trial_id=st.none() | st.text(),
        reason=st.text(),
    ),
    st.builds(Tick, time=times),
)


@given(events)
def test_an_event_comes_back_as_it_was(event):
    record = encode_event(event)
    assert b"\n" not in record
    assert decode_event(record) == event


@given(st.lists(configs, min_size=1, max_size=3))
def test_results_are_written_as_the_trial_encoded_them(results):
    lines = tuple(orjson.dumps(result) for result in results)
    event = ResultReported(1.0, "t", 1, 1, tuple(results), False, lines)
    record = encode_event(event)
    assert all(line in record for line in lines)
    assert decode_event(record) == event


@pytest.mark.parametrize("lines", [(), (b'{"loss":NaN,"best":-Infinity}',)])
def test_numbers_that_json_does_not_know_are_kept(lines):
    result = {"loss": math.nan, "best": -math.inf}
    event = ResultReported(1.0, "t", 1, 1, (result,), True, lines)
    back = decode_event(encode_event(event))
    assert isinstance(back, ResultReported)
    assert math.isnan(back.results[0]["loss"])
    assert back.results[0]["best"] == -math.inf


@pytest.mark.parametrize("value", [{1, 2}, (1, 2), 2**70, np.float64(0.1), {1: "a"}, math.sqrt])
def test_a_config_comes_back_as_exactly_what_it_was(value):
    event = TrialSuggested(1.0, "t", {"x": value}, {"x": value}, "", Resources())
    back = decode_event(encode_event(event))
    assert isinstance(back, TrialSuggested)
    assert type(back.config["x"]) is type(value)
    assert (back.config, back.resolved) == (event.config, event.resolved)


def test_a_new_config_comes_back_as_exactly_what_it_was():
    checkpoint = TrialCheckpoint("t/checkpoint_000001", Progress(1), {"loss": math.nan})
    event = TrialRedirected(1.0, "t", "u", checkpoint, {"x": (1, 2), "f": math.sqrt})
    back = decode_event(encode_event(event))
    assert back == event
    assert isinstance(back, TrialRedirected)
    assert math.isnan(back.checkpoint.metrics["loss"])


def test_the_record_of_a_format_without_checkpoints_is_read():
    assert decode_event(b'{"event":"Resumed","time":1.0}') == Resumed(1.0)
    ended = b'{"event":"AttemptEnded","time":1.0,"trial_id":"t","attempt":1,"outcome":"paused"}'
    assert decode_event(ended) == AttemptEnded(1.0, "t", 1, Outcome.PAUSED)


def test_a_config_that_cannot_be_pickled_is_written_by_its_repr():
    lock = threading.Lock()
    event = TrialSuggested(1.0, "t", {"x": lock}, {}, "", Resources())
    back = decode_event(encode_event(event))
    assert isinstance(back, TrialSuggested)
    assert back.config == {"x": repr(lock)}


@dataclasses.dataclass(frozen=True)
class Mute:
    x: int = 0

    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "config", [{("a", 1): 2, "b": [{Mute(): 1}]}, {"x": Mute(), 3: "caf\udce9"}]
)
def test_a_config_of_whatever_keys_and_values_comes_back(config):
    event = TrialSuggested(1.0, "t", config, {}, "", Resources())
    back = decode_event(encode_event(event))
    assert isinstance(back, TrialSuggested)
    assert back.config == config


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="not a journal record"):
        decode_event(b'{"event":"Unheard"}')
