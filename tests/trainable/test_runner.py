"""How attempts end, without a process around them."""

import pickle
import threading

import pytest

import prefect_tune.trainable as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable.runner import run_attempt
from prefect_tune.trainable.runtime.attempt import Decision
from prefect_tune.trainable.runtime.result_codec import decode_line, decode_report
from tests.attempts import changed, make_context

CONTEXT = make_context(config={"x": 2})


class StopWhenAsked:
    is_leaving = False

    def __init__(self):
        self.results = []

    def send_result(self, seq, line, awaiting):
        self.results.append(decode_line(decode_report(line)[0]))

    def wait_decision(self):
        return Decision(len(self.results), Action.STOP)

    def poll_decision(self):
        return None


def run(trainable, **changes):
    channel = StopWhenAsked()
    context = changed(CONTEXT, **changes)
    return run_attempt(context, trainable, channel, own_process=False), channel.results


class Counter(tune.Trainable):
    log: list[str]

    def setup(self, config):
        type(self).log = [f"setup {config['x']} {self.trial_id} {self.logdir}"]

    def step(self):
        self.log.append(f"step {self.iteration}")
        return {"x": self.iteration, "done": self.iteration == 12}

    def cleanup(self):
        self.log.append("cleanup")


def test_a_class_steps_until_it_is_stopped():
    end, results = run(
        Counter, progress=Progress(10), run_until=RunUntil((("training_iteration", 12.0),))
    )

    assert end is Outcome.STOPPED
    assert [result["x"] for result in results] == [10, 11]
    assert Counter.log == ["setup 2 t1 /trial", "step 10", "step 11", "cleanup"]


def test_a_class_ends_when_it_is_done():
    end, results = run(Counter, progress=Progress(10))

    assert end is Outcome.STOPPED  # at the decision that `done` brings about
    assert [result["done"] for result in results] == [False, False, True]


def test_a_step_that_returns_no_dict_is_an_error_and_cleans_up():
    class Wrong(Counter):
        def step(self):
            return 3

    end, _ = run(Wrong)

    assert isinstance(end, AttemptError)
    assert "Wrong.step() returned int" in end.message
    assert Wrong.log[-1] == "cleanup"


class HoldsLock(Exception):
    def __init__(self, message):
        super().__init__(message)
        # Cannot be pickled, whoever has a say in how exceptions are.
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("error", "kind", "message", "travels"),
    [
        (KeyError("k"), "KeyError", "'k'", True),
        (ValueError(), "ValueError", "", True),
        (KeyboardInterrupt(), "KeyboardInterrupt", "", True),
        (HoldsLock("held"), "HoldsLock", "held", True),
        (SystemExit("bye"), "exit", "the trainable called sys.exit(1): bye", False),
    ],
)
def test_errors_become_data(error, kind, message, travels):
    def train(config):
        raise error

    end, _ = run(train)

    assert (end.kind, end.message) == (kind, message)
    assert (end.pickled is not None) is travels
    assert pickle.loads(pickle.dumps(end)) == end


def test_sys_exit_without_an_error_is_an_end():
    def train(config):
        raise SystemExit

    assert run(train)[0] is Outcome.FINISHED


def test_a_call_that_cannot_work_keeps_its_traceback():
    end, _ = run(lambda: None)

    assert end.kind == "TypeError"
    assert end.traceback


def test_the_session_is_gone_after_the_attempt():
    run(lambda config: None)

    assert not tune.is_session_enabled()
