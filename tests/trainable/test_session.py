"""The session against a channel in memory."""

import math
import time

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.air import session as air_session
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, Action, RunUntil
from prefect_tune.resources import Resources
from prefect_tune.trainable.runtime.attempt import (
    Decision,
    TrialPaused,
    TrialStopped,
    TrialTerminated,
)
from prefect_tune.trainable.runtime.attempt_session import Session, activate
from prefect_tune.trainable.runtime.result_codec import decode_line, decode_report
from tests.attempts import changed, make_context

CONTEXT = make_context(resources=Resources.of(CPU=2.0))


class MemoryChannel:
    """Keeps what is sent; answers from a list."""

    is_leaving = False

    def __init__(self, *decisions):
        self.sent = []
        self.decisions = list(decisions)
        self.unasked = []
        self.gone = False

    @property
    def results(self):
        return [decode_line(decode_report(line)[0]) for _, line, _ in self.sent]

    @property
    def awaited(self):
        return [seq for seq, _, awaiting in self.sent if awaiting]

    def send_result(self, seq, line, awaiting):
        if self.gone:
            raise BrokenPipeError
        self.sent.append((seq, line, awaiting))

    def wait_decision(self):
        if not self.decisions:
            raise ConnectionError("nobody answers")
        return self.decisions.pop(0)

    def poll_decision(self):
        return self.unasked.pop(0) if self.unasked else None


@pytest.fixture
def channel():
    return MemoryChannel()


@pytest.fixture
def start(channel):
    def start(**changes):
        session = Session(changed(CONTEXT, **changes), channel)
        activate(session, whole_process=True)
        return session

    yield start
    activate(None, whole_process=True)


def test_all_styles_of_reporting_may_be_mixed(start, channel):
    start()

    tune.report({"a": 1})
    tune.report(a=2, b=3)
    tune.report(0.5)
    tune.report({"a": 4}, b=5)
    tune.report(metrics={"a": 7})
    tune.report(metrics=8)
    tune.report(np.float32(0.25))

    users = [
        {name: result[name] for name in ("a", "b", "_metric", "metrics") if name in result}
        for result in channel.results
    ]
    assert users == [
        {"a": 1},
        {"a": 2, "b": 3},
        {"_metric": 0.5},
        {"a": 4, "b": 5},
        {"a": 7},
        {"metrics": 8},
        {"_metric": 0.25},
    ]


def test_the_session_of_air_takes_dicts(start, channel):
    start()

    air_session.report({"a": 6})
    air_session.report(metrics={"a": 7})
    tune.report({"a": 8})

    assert [result["a"] for result in channel.results] == [6, 7, 8]


@pytest.mark.parametrize("keywords_first", [True, False])
def test_keywords_and_the_session_of_air_exclude_each_other(start, channel, keywords_first):
    start()
    calls = [lambda: tune.report(a=1), lambda: air_session.report({"a": 2})]
    if not keywords_first:
        calls.reverse()
    calls[0]()

    with pytest.raises(
        ValueError, match=r"session\.report.*one style only|tune\.report.*one style"
    ):
        calls[1]()

    assert len(channel.results) == 1


@pytest.mark.parametrize("name", ["world_size", "world_rank", "local_rank", "node_rank"])
def test_ranks_are_those_of_a_single_process(start, name):
    start()
    with pytest.warns(DeprecationWarning, match=name):
        assert getattr(tune.get_context(), f"get_{name}")() == int(name == "world_size")
    if name != "node_rank":
        with pytest.raises(RuntimeError, match="distributed training"):
            getattr(air_session, f"get_{name}")()


@pytest.mark.parametrize("wrong", ["loss", [1], object()])
def test_a_report_that_is_neither_dict_nor_number_says_what_is_right(start, wrong):
    start()

    with pytest.raises(InvalidArgument, match=r"`metrics`.*a dict of metrics or a number"):
        tune.report(wrong)


def test_a_checkpoint_is_refused_clearly(start, channel):
    start()

    with pytest.raises(TuneError, match="`checkpoint`"):
        tune.report({"a": 1}, checkpoint=object())

    assert channel.sent == []


def test_auto_filled_metrics(start, channel):
    before = int(time.time())
    start(progress=Progress(10))

    tune.report(mean_loss=0.25)
    tune.report(mean_loss=0.5)

    first, second = channel.results
    assert first["neg_mean_loss"] == -0.25
    assert first["done"] is False
    assert [first["training_iteration"], second["training_iteration"]] == [11, 12]
    assert [first["iterations_since_restore"], second["iterations_since_restore"]] == [1, 2]
    assert second["time_total_s"] == first["time_this_iter_s"] + second["time_this_iter_s"]
    assert second["time_since_restore"] == second["time_total_s"]
    assert first["warmup_time"] == 0
    assert first["timesteps_total"] is None
    assert first["episodes_total"] is None
    assert before <= first["timestamp"] <= time.time()
    local = time.mktime(time.strptime(first["date"], "%Y-%m-%d_%H-%M-%S"))
    assert abs(local - first["timestamp"]) in (0, 3600)  # a change of daylight saving time


def test_the_users_metrics_come_first(start, channel):
    start()

    tune.report(reward=1, timesteps_total=10, mean_loss=0.5)

    (result,) = channel.results
    assert list(result)[:4] == ["reward", "timesteps_total", "mean_loss", "done"]


def test_steps_and_episodes_accumulate(start, channel):
    start()

    tune.report(timesteps_this_iter=10, episodes_this_iter=1)
    tune.report(x=1)
    tune.report(timesteps_this_iter=5, timesteps_total=99)

    shown = [
        (result["timesteps_total"], result["episodes_total"], result["timesteps_since_restore"])
        for result in channel.results
    ]
    assert shown == [(10, 1, 10), (10, 1, 10), (99, 1, 15)]


def test_the_users_values_win_where_they_may(start, channel):
    start()

    tune.report(training_iteration=7, timestamp=5, time_this_iter_s=2.0, iterations_since_restore=9)

    (result,) = channel.results
    assert (result["training_iteration"], result["timestamp"]) == (7, 5)
    assert result["time_total_s"] == 2.0
    assert result["iterations_since_restore"] == 1


def test_non_finite_metrics_are_sent(start, channel):
    start()

    tune.report(loss=math.nan, best=-math.inf)

    (result,) = channel.results
    assert math.isnan(result["loss"])
    assert result["best"] == -math.inf
    assert result["timesteps_total"] is None


@pytest.mark.parametrize(
    ("threshold", "metrics", "waits"),
    [
        (("x", 2.0), {"x": 1.9}, False),
        (("x", 2.0), {"x": 2}, True),
        (("x", 2.0), {"x": np.float32(1.5)}, False),
        (("x", 2.0), {"x": np.int64(2)}, True),
        (("x", 2.0), {"y": 1}, True),
        (("a/b", 2.0), {"a": {"b": 1}}, False),
        (("a/b", 2.0), {"a": {"b": 3}}, True),
        (("a/b", 2.0), {"a/b": 1}, False),
    ],
)
def test_waits_where_a_threshold_is_reached(start, channel, threshold, metrics, waits):
    start(run_until=RunUntil((threshold,)))
    channel.decisions.append(Decision(1, Action.CONTINUE))

    tune.report(metrics)

    assert channel.awaited == ([1] if waits else [])


def test_a_decision_moves_the_next_waiting_point(start, channel):
    start(run_until=EVERY_RESULT)
    channel.decisions += [
        Decision(1, Action.CONTINUE, RunUntil((("training_iteration", 3.0),))),
        Decision(0, Action.CONTINUE, EVERY_RESULT),  # unasked: does not answer
        Decision(3, Action.CONTINUE, NEVER),
    ]

    for _ in range(5):
        tune.report(x=1)

    assert channel.awaited == [1, 3]
    assert channel.decisions == []


@pytest.mark.parametrize(
    ("action", "ending"), [(Action.STOP, TrialStopped), (Action.PAUSE, TrialPaused)]
)
def test_every_further_report_ends_the_trial_again(start, channel, action, ending):
    start(run_until=EVERY_RESULT)
    channel.decisions.append(Decision(1, action))

    for _ in range(3):
        with pytest.raises(ending):
            tune.report(x=1)

    assert len(channel.sent) == 1


def test_an_unasked_stop_is_found_without_waiting(start, channel):
    start()
    tune.report(x=1)
    channel.unasked += [Decision(0, Action.CONTINUE, EVERY_RESULT), Decision(0, Action.STOP)]

    with pytest.raises(TrialStopped):
        tune.report(x=2)


@pytest.mark.parametrize("run_until", [NEVER, EVERY_RESULT])
def test_the_trial_ends_when_its_agent_is_gone(start, channel, run_until):
    start(run_until=run_until)
    channel.gone = run_until is NEVER

    with pytest.raises(TrialStopped):
        tune.report(x=1)


def test_termination_disturbs_the_cleanup_only_once(start):
    session = start()

    with pytest.raises(TrialTerminated):
        session.terminate()
    session.terminate()

    with pytest.raises(TrialTerminated):
        tune.report(x=1)


def test_a_trial_knows_itself(start):
    start()
    context = tune.get_context()

    assert tune.is_session_enabled()
    assert tune.get_trial_id() == context.get_trial_id() == "t1"
    assert tune.get_trial_name() == context.get_trial_name() == "train_t1"
    assert tune.get_trial_dir() == context.get_trial_dir() == "/trial"
    assert tune.get_trial_resources() == context.get_trial_resources()
    assert tune.get_trial_resources().required_resources == {"CPU": 2.0}
    assert context.get_experiment_name() == "exp"
    assert tune.get_checkpoint() is None


def test_outside_a_trial_everything_warns_and_does_nothing():
    assert not tune.is_session_enabled()
    for name in ("report", "get_trial_id", "get_trial_name", "get_trial_dir", "get_checkpoint"):
        with pytest.warns(RuntimeWarning, match=f"`{name}` was called outside a trial"):
            assert getattr(tune, name)() is None


def test_the_storage_of_ray_is_refused_with_what_there_is_instead() -> None:
    with pytest.raises(TuneError, match=r"get_trial_dir.*checkpoint="):
        tune.get_context().get_storage()


def test_an_attempt_whose_worker_ends_goes_on_until_its_next_checkpoint(tmp_path):
    channel = MemoryChannel()
    session = Session(make_context(tmp_path), channel)
    assert not session.should_checkpoint()
    channel.is_leaving = True
    assert session.should_checkpoint()
    session.report({"x": 1})  # without a checkpoint nothing is gained by its end
    with pytest.raises(TrialPaused):
        session.leave()
    with pytest.raises(TrialPaused):
        session.report({"x": 2})
