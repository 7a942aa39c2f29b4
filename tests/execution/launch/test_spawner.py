"""Attempts in processes: how they report, wait, end and fail."""

import functools
import os
import signal
import sys
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.protocol.frames import FrameKind
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import EVERY_RESULT, Action, RunUntil
from prefect_tune.trainable.runtime.attempt import Decision

everywhere = pytest.mark.parametrize(
    "how",
    [
        pytest.param({"start_method": "fork"}, id="fork"),
        pytest.param({"start_method": "spawn"}, id="spawn"),
        pytest.param({"isolation": "thread"}, id="thread"),
    ],
)


@everywhere
def test_reports_arrive_in_order_between_hello_and_end(agent, how):
    def train(config):
        for epoch in range(config["epochs"]):
            tune.report({"loss": 1 / (epoch + 1)})

    record = agent.run_one(train, context=agent.context(config={"epochs": 3}), **how)

    assert record.kinds == [FrameKind.HELLO, *[FrameKind.RESULT] * 3, FrameKind.ENDED]
    assert [result["loss"] for result in record.results] == [1, 1 / 2, 1 / 3]
    assert [result["training_iteration"] for result in record.results] == [1, 2, 3]
    assert record.end is Outcome.FINISHED
    assert record.exit_code == 0
    assert record.hello["pid"] > 0
    assert record.hello["hostname"]
    assert record.hello["node_ip"]


def test_forks_have_what_follows_an_imported_module(agent, tmp_path, monkeypatch):
    """A stand-in for PyTorch, whose first optimizer imports another two seconds of modules."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("def is_there(): return None")
    (tmp_path / "torch/_dynamo.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    import torch

    there = torch.is_there

    def train(config):
        tune.report(there=there() is None and "torch._dynamo" in sys.modules)

    (result,) = agent.run_one(train, start_method="fork").results
    assert result["there"]
    del sys.modules["torch"]  # not by monkeypatch, which would put the stand-in back


@everywhere
def test_ends_at_exactly_the_report_that_a_decision_stops(agent, how):
    def train(config):
        with Path(config["log"]).open("w") as log:
            try:
                for step in range(100):
                    try:
                        log.write(f"{step}\n")
                        tune.report(step=step)
                    except Exception:
                        log.write("swallowed\n")
            finally:
                log.write("cleaned up\n")

    log = agent.directory / "log"
    context = agent.context(
        config={"log": str(log)}, run_until=RunUntil((("training_iteration", 3.0),))
    )

    def decide(_handle, frame):
        if frame.kind != FrameKind.RESULT_AWAITING:
            return None
        if frame.seq == 3:
            go_on = RunUntil((("training_iteration", 5.0),))
            return Decision(frame.seq, Action.CONTINUE, go_on)
        return Decision(frame.seq, Action.STOP)

    record = agent.run_one(train, context=context, on_result=decide, **how)

    assert record.awaited == [3, 5]
    assert [result["step"] for result in record.results] == [0, 1, 2, 3, 4]
    assert log.read_text().split("\n") == ["0", "1", "2", "3", "4", "cleaned up", ""]
    assert record.end is Outcome.STOPPED


@everywhere
def test_an_unasked_stop_ends_it_at_a_later_report(agent, how):
    def train(config):
        while True:
            tune.report(x=1)

    def stop_at_first(_handle, frame):
        return Decision(0, Action.STOP) if frame.seq == 1 else None

    record = agent.run_one(train, on_result=stop_at_first, **how)

    assert record.end is Outcome.STOPPED


def test_a_paused_attempt_says_so(agent):
    record = agent.run_one(
        lambda config: tune.report(x=1),
        context=agent.context(run_until=EVERY_RESULT),
        on_result=lambda _handle, frame: Decision(frame.seq, Action.PAUSE),
    )

    assert record.end is Outcome.PAUSED
    assert record.exit_code == 0


def test_a_trial_that_swallows_its_end_is_ended_again_and_reports_no_more(agent):
    def train(config):
        for step in range(3):
            try:
                tune.report(step=step)
            except BaseException as ending:
                print(type(ending).__name__)
        return {"step": "last"}

    record = agent.run_one(
        train,
        context=agent.context(run_until=EVERY_RESULT),
        on_result=lambda _handle, frame: Decision(frame.seq, Action.STOP),
    )

    assert [result["step"] for result in record.results] == [0]
    assert record.stdout.split() == ["TrialStopped"] * 3
    assert record.end is Outcome.STOPPED


@everywhere
def test_a_stopped_generator_is_closed(agent, how):
    def train(config):
        try:
            while True:
                yield {"x": 1}
        finally:
            Path(config["log"]).write_text("closed")

    log = agent.directory / "log"
    record = agent.run_one(
        train,
        context=agent.context(config={"log": str(log)}, run_until=EVERY_RESULT),
        on_result=lambda _handle, frame: Decision(frame.seq, Action.STOP),
        **how,
    )

    assert len(record.results) == 1
    assert log.read_text() == "closed"
    assert record.end is Outcome.STOPPED


@everywhere
def test_an_exception_is_reported_with_the_users_frames_first(agent, how):
    def train(config):
        raise ValueError("bad value\nsecond line")

    record = agent.run_one(train, **how)

    assert isinstance(record.end, AttemptError)
    assert (record.end.kind, record.end.message) == ("ValueError", "bad value")
    frames = [line for line in record.end.traceback.splitlines() if line.startswith("  File")]
    assert __file__ in frames[0]
    assert record.end.pickled is not None
    if "isolation" not in how:
        assert record.exit_code == 1
        assert "ValueError: bad value" in record.stderr


@everywhere
def test_sys_exit_is_a_failure_that_names_the_status(agent, how):
    record = agent.run_one(lambda config: sys.exit(3), **how)

    assert isinstance(record.end, AttemptError)
    assert (record.end.kind, record.end.exit_code) == ("exit", 3)
    assert "sys.exit(3)" in record.end.message
    if "isolation" not in how:
        assert record.exit_code == 3


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_crash_leaves_its_signal_and_last_words(agent, start_method):
    def train(config):
        tune.report(x=1)
        print("last words", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGSEGV)

    record = agent.run_one(train, start_method=start_method)

    assert len(record.results) == 1
    assert record.end is None
    assert record.exit_code == -signal.SIGSEGV
    assert "last words" in record.stderr
    assert "Segmentation fault" in record.stderr
    assert f'"{__file__}", line' in record.stderr


def test_os_exit_leaves_its_status(agent):
    record = agent.run_one(lambda config: os._exit(7))

    assert record.end is None
    assert record.exit_code == 7


def test_sigterm_runs_the_cleanup_of_user_code(agent):
    def train(config):
        try:
            tune.report(x=1)
            signal.pause()
        finally:
            print("cleaned up")

    def terminate(handle, _frame):
        handle.kill_group(signal.SIGTERM)

    record = agent.run_one(train, on_result=terminate)

    assert record.stdout.split("\n")[0] == "cleaned up"
    assert isinstance(record.end, AttemptError)
    assert (record.end.kind, record.end.exit_code) == ("signal", -signal.SIGTERM)


def test_sigterm_after_an_unread_stop_is_a_stop(agent):
    def train(config):
        import select
        import threading

        def terminate_when_told(sock):
            select.select([sock], [], [])
            os.kill(os.getpid(), signal.SIGTERM)

        tune.report(x=1)
        (connection,) = (
            int(link.name)
            for link in Path("/proc/self/fd").iterdir()
            if link.is_symlink() and os.readlink(link).startswith("socket:")
        )
        threading.Thread(target=terminate_when_told, args=(connection,), daemon=True).start()
        signal.pause()

    record = agent.run_one(train, on_result=lambda *_: Decision(0, Action.STOP))

    assert record.end is Outcome.STOPPED


def test_the_processes_a_trial_leaves_behind_die_with_it(agent, ends):
    def train(config):
        import subprocess

        child = subprocess.Popen(["sleep", "600"])
        tune.report(child=child.pid)

    record = agent.run_one(train)

    assert record.end is Outcome.FINISHED
    assert ends(record.results[0]["child"])


def test_multiprocessing_works_inside_a_trial(agent):
    def train(config):
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            tune.report(total=sum(pool.map(abs, [-1, -2, -3])))

    record = agent.run_one(train)

    assert record.end is Outcome.FINISHED
    assert record.results[0]["total"] == 6


def test_a_child_process_ends_at_sigterm_however_early_it_comes(agent):
    def train(config):
        endings = set()
        for _ in range(200):
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            endings.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        tune.report(endings=sorted(endings))

    record = agent.run_one(train)

    assert record.results[0]["endings"] == [-signal.SIGTERM]


def test_a_child_process_does_not_report_for_its_trial(agent):
    def train(config):
        if os.fork() == 0:
            enabled = tune.is_session_enabled()
            tune.report(x="child")
            os._exit(int(enabled))
        _, status = os.wait()
        tune.report(x="parent", child_enabled=os.waitstatus_to_exitcode(status))

    record = agent.run_one(train)

    assert [(result["x"], result["child_enabled"]) for result in record.results] == [("parent", 0)]


def test_threads_of_user_code_report_for_their_trial(agent):
    def train(config):
        import threading

        def work(number):
            for step in range(50):
                tune.report(number=number, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    record = agent.run_one(train)

    iterations = [result["training_iteration"] for result in record.results]
    assert iterations == list(range(1, 201))


def test_exit_handlers_of_user_code_run(agent):
    def train(config):
        import atexit

        atexit.register(print, "exit handler")

    assert agent.run_one(train).stdout == "exit handler\n"


def test_a_pool_of_processes_that_is_left_open_holds_nothing_up(agent):
    def train(config):
        import atexit
        import sys
        from concurrent.futures import ProcessPoolExecutor

        atexit.register(print, "ended by itself")
        sys.pool = ProcessPoolExecutor(1)  # referred to until the end
        tune.report(a=sys.pool.submit(abs, -1).result())

    record = agent.run_one(train)

    assert record.results[0]["a"] == 1
    assert record.stdout == "ended by itself\n"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_trial_has_its_own_environment_directory_and_devices(agent, start_method, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def train(config):
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MINE")
        tune.report({name: os.environ.get(name) for name in names})
        Path("artifact").write_text("here")
        tune.report(original=os.environ["TUNE_ORIG_WORKING_DIR"])

    gpu, cpu, plain = agent.run(
        train,
        agent.context("gpu", env={"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "2,5"}),
        agent.context("cpu", env={"MINE": "yes", "CUDA_VISIBLE_DEVICES": ""}),
        agent.context("plain"),
        start_method=start_method,
    )

    def shown(record):
        return [value for name, value in record.results[0].items() if name.isupper()]

    assert shown(gpu) == ["2,5", "2", "2", None]
    assert shown(cpu) == ["", None, "7", "yes"]
    assert shown(plain) == [None, None, "7", None]
    assert (agent.directory / "cpu" / "artifact").read_text() == "here"
    assert gpu.results[1]["original"] == str(Path.cwd())


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("threads", [1, 2])
def test_native_thread_pools_have_the_size_of_the_request(agent, start_method, threads):
    def train(config):
        import numpy as np

        matrix = np.ones((400, 400))
        matrix @ matrix
        return len(os.listdir("/proc/self/task"))

    record = agent.run_one(
        train,
        context=agent.context(env={"OMP_NUM_THREADS": str(threads)}),
        start_method=start_method,
    )

    assert record.results[0]["_metric"] == threads


def test_the_working_directory_stays_if_asked(agent):
    record = agent.run_one(
        lambda config: tune.report(cwd=os.getcwd()),
        context=agent.context(env={"RAY_CHDIR_TO_TRIAL_DIR": "0"}),
    )

    assert record.results[0]["cwd"] == str(Path.cwd())


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_random_numbers_differ_between_trials_and_follow_from_the_seed(agent, start_method):
    def train(config):
        import random

        import numpy as np

        tune.report(python=random.random(), numpy=float(np.random.random()))

    first, second, again, free, free_too = agent.run(
        train,
        agent.context("a", seed=1),
        agent.context("b", seed=1),
        agent.context("a", seed=1),
        agent.context("c"),
        agent.context("d"),
        start_method=start_method,
    )

    for name in ("python", "numpy"):
        assert first.results[0][name] == again.results[0][name]
        drawn = [record.results[0][name] for record in (first, second, free, free_too)]
        assert len(set(drawn)) == 4


def test_done_in_a_report_waits_for_the_decision(agent):
    def train(config):
        tune.report(x=1, done=True)
        tune.report(x=2)

    record = agent.run_one(train, on_result=lambda _handle, frame: Decision(frame.seq, Action.STOP))

    assert record.awaited == [1]
    assert len(record.results) == 1


def test_partials_and_returned_numbers_are_results(agent):
    def train(scale, config):
        return scale * config["x"]

    record = agent.run_one(functools.partial(train, 2), context=agent.context(config={"x": 21}))

    assert record.results[0]["_metric"] == 42


def test_another_kind_of_return_value_is_an_error(agent):
    record = agent.run_one(lambda config: "text")

    assert isinstance(record.end, AttemptError)
    assert record.end.kind == "InvalidTrainable"
    assert "returned str" in record.end.message


def test_a_config_that_the_trial_cannot_unpickle_is_its_failure(agent):
    record = agent.run_one(lambda config: None, context=agent.context(config={"x": _Unloadable()}))

    assert isinstance(record.end, AttemptError)
    assert record.end.message == "cannot be unpickled"


class _Unloadable:
    def __reduce__(self):
        return exec, ("raise ValueError('cannot be unpickled')",)


@pytest.mark.parametrize("shown", ["", "1", "0"])
def test_the_traceback_is_printed_unless_it_is_not_wanted(agent, shown):
    def fails(config):
        raise ValueError("of the trial")

    context = agent.context(env={"TUNE_PRINT_ALL_TRIAL_ERRORS": shown})
    record = agent.run_one(fails, context=context)
    assert "of the trial" in record.end.traceback
    assert ("ValueError: of the trial" in record.stderr) is (shown != "0")
