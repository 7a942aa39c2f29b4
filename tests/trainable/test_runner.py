"""How attempts end, without a process around them."""

from __future__ import annotations

import os
import pickle
import subprocess
import threading

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable import runner
from prefect_tune.trainable.runner import pickle_exception, run_attempt, unshare_directory
from prefect_tune.trainable.runtime.attempt import Decision
from prefect_tune.trainable.runtime.result_codec import decode_line, decode_report
from tests.attempts import changed, make_context

CONTEXT = make_context(config={"x": 2})
_TOGETHER = threading.Barrier(2)


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


class TwoArguments(Exception):
    def __init__(self, code, place):
        super().__init__(f"{code} at {place}")
        self.code = code


class MakesItsMessage(Exception):
    def __init__(self, what):
        super().__init__(f"cannot: {what}")


class HasALock(Exception):
    def __init__(self, message):
        super().__init__(message, threading.Lock())
        self.lock = threading.Lock()
        self.code = 3


def travelled(error):
    pickled = pickle_exception(error)
    assert pickled is not None
    return pickle.loads(pickled)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("a"),
        ExceptionGroup("many", [ValueError("a"), OSError(2, "no such file", "x")]),
        OSError(28, "No space left on device", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        KeyboardInterrupt(),
        TwoArguments(3, "here"),
        MakesItsMessage("fly"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("with_dask", [False, True], ids=["alone", "with_dask"])
def test_an_exception_is_the_same(error, with_dask):
    if with_dask:
        # It changes how all exceptions of the process are pickled.
        import distributed  # noqa: F401
    loaded = travelled(error)
    assert type(loaded) is type(error)
    assert repr(loaded) == repr(error)
    assert str(loaded) == str(error)


def test_arguments_of_its_own_are_kept():
    assert travelled(TwoArguments(3, "here")).code == 3


def test_what_cannot_travel_is_left_behind():
    loaded = travelled(HasALock("busy"))
    assert isinstance(loaded, HasALock)
    assert loaded.code == 3
    assert loaded.args[0] == "busy"
    assert not hasattr(loaded, "lock")


def test_notes_are_kept():
    error = TwoArguments(3, "here")
    error.add_note("in the third epoch")
    assert travelled(error).__notes__ == ["in the third epoch"]


def test_a_local_class_travels_by_value():
    class Local(Exception):
        pass

    assert repr(travelled(Local("x"))) == "Local('x')"


def test_a_class_that_makes_trouble_everywhere():
    class Stubborn(Exception):
        def __new__(cls, *args):
            if args != ("the word",):
                raise RuntimeError("no")
            return super().__new__(cls, *args)

        def __repr__(self):
            raise RuntimeError("no")

        def __reduce__(self):
            raise RuntimeError("no")

    error = Stubborn("the word")
    error.args = ("other",)
    assert pickle_exception(error) is None


def train(config):
    _TOGETHER.wait(60)
    with open("artifact.txt", "w") as file:
        file.write(str(config["x"]))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.getcwd()))
    thread.start()
    thread.join()
    child = subprocess.run(["pwd", "-P"], capture_output=True, text=True).stdout.strip()
    _TOGETHER.wait(60)
    tune.report(dirs=[os.getcwd(), *seen, child], origin=os.environ["TUNE_ORIG_WORKING_DIR"])


@pytest.fixture
def has_directories():
    found = []
    thread = threading.Thread(target=lambda: found.append(unshare_directory()))
    thread.start()
    thread.join()
    if not found[0]:
        pytest.skip("this system gives a thread no directory of its own")


def test_trials_in_threads_work_in_their_own_directories(tmp_path, monkeypatch, has_directories):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNE_ORIG_WORKING_DIR", raising=False)
    tune.init(num_cpus=2)
    try:
        analysis = tune.run(
            train,
            config={"x": tune.grid_search([1, 2])},
            isolation="thread",
            storage_path=str(tmp_path / "results"),
            orchestrate=False,
            verbose=0,
        )
    finally:
        tune.shutdown()
    for trial in analysis.trials:
        where = os.path.realpath(trial.logdir)
        assert {os.path.realpath(d) for d in trial.last_result["dirs"]} == {where}
        with open(f"{trial.logdir}/artifact.txt") as file:
            assert file.read() == str(trial.config["x"])
        assert trial.last_result["origin"] == str(tmp_path)
    assert os.getcwd() == str(tmp_path)
    assert not (tmp_path / "artifact.txt").exists()


def test_it_says_once_where_there_is_none(monkeypatch, caplog):
    monkeypatch.setattr(runner, "_warned", False)
    monkeypatch.setattr(runner.sys, "platform", "darwin")
    assert [unshare_directory() for _ in range(2)] == [False, False]
    assert caplog.text.count("Trials in threads work in the directory of their process") == 1
