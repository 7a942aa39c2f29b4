"""Attempts on a real in-process Dask cluster."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    Outcome,
)
from prefect_tune.error import ClusterError, InsufficientResources
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.execution.node.entry import agent_of
from prefect_tune.experiment.decision import EVERY_RESULT, Action
from prefect_tune.resources import Resources
from tests.execution.experiments import Experiment, make_env


@pytest.fixture(scope="module", autouse=True)
def cluster():
    tune.init(num_cpus=2, num_gpus=4, resources={"license": 1})
    yield
    tune.shutdown()


@pytest.fixture
def experiment(tmp_path):
    def experiment(trainable, **options):
        directory = tmp_path / f"{time.monotonic_ns()}"
        directory.mkdir()
        return Experiment(DaskExecutor(connect()), make_env(trainable, directory, **options))

    return experiment


def forever(config):
    yield {"x": 0}
    while True:
        time.sleep(60)


class Behind:
    """A driver that is behind until it is told otherwise."""

    def __init__(self):
        self.full = True
        self.asked = threading.Event()
        self.waiting = []

    def when_room(self, resume):
        self.waiting.append(resume)
        self.asked.set()

    def catch_up(self):
        self.full = False
        for resume in self.waiting:
            resume()


def rest_of(events, timeout):
    """What comes until nothing has come for so many seconds."""
    found = []
    with contextlib.suppress(queue.Empty):
        while True:
            found.append(events.get(timeout=timeout))
    return found


def test_trials_wait_while_the_driver_is_behind_and_are_not_given_up(experiment, tmp_path):
    def flood(config):
        for x in range(40_000):
            tune.report(x=x)
            if x % 1000 == 0:
                (tmp_path / "reported").write_text(str(x))

    behind = Behind()
    run = experiment(flood, lease_s=4.0)
    run.driver = behind
    with run:
        assert behind.asked.wait(60)
        run.launch("a")
        # Longer than the lease: nothing comes, and nothing is lost.
        assert not [e for e in rest_of(run.events, 7) if not isinstance(e, CapacityChanged)]
        assert int((tmp_path / "reported").read_text()) < 30_000
        behind.catch_up()
        assert run.until_ended("a").outcome is Outcome.FINISHED
        assert len(run.results("a")) == 40_000


def test_trials_of_one_name_are_different_trials(experiment):
    def train(config):
        tune.report(x=config["x"])

    with experiment(train) as run:
        run.launch("a", {"x": 1}, name="same")
        run.launch("b", {"x": 2}, name="same")
        ended = {run.next_event_of(AttemptEnded).trial_id for _ in "ab"}
        assert ended == {"a", "b"}
        assert [run.results(trial_id)[0]["x"] for trial_id in "ab"] == [1, 2]


# -- results ------------------------------------------------------------------------------------


def test_a_flood_of_results_arrives_complete_and_in_order(experiment):
    def flood(config):
        for x in range(30_000):
            tune.report(x=x)

    with experiment(flood) as run:
        run.launch("a")
        run.launch("b")
        run.until_ended("a")
        if not run.results("b") or run.results("b")[-1]["x"] < 29_999:
            run.until_ended("b")
        for trial in "ab":
            assert [result["x"] for result in run.results(trial)] == list(range(30_000))


def test_results_carry_their_json_text_and_the_very_config(experiment):
    def report(config):
        tune.report(loss=float("nan"), nested={"a": 1})

    config = {"lr": 0.1}
    with experiment(report) as run:
        run.launch("a", config)
        event = run.until_reported("a")
    (result,), (line,) = event.results, event.lines
    assert result["loss"] != result["loss"]
    assert result["nested"] == {"a": 1}
    assert result["config"] is config
    assert b'"loss":NaN' in line


def test_a_result_larger_than_any_buffer(experiment):
    def report(config):
        tune.report(text="x" * 20_000_000)
        tune.report(done_well=True)

    with experiment(report) as run:
        results, end = run.run("a")
    assert end.outcome is Outcome.FINISHED
    assert [len(result.get("text", "")) for result in results] == [20_000_000, 0]


def test_awaited_decisions(experiment):
    def train(config):
        for x in range(20):
            tune.report(x=x)

    with experiment(train) as run:
        run.launch("a", run_until=EVERY_RESULT)
        for seq in range(1, 21):
            event = run.until_reported("a")
            assert (event.first_seq, event.awaiting) == (seq, True)
            run.decide("a", seq, Action.CONTINUE, EVERY_RESULT)
        assert run.until_ended("a").outcome is Outcome.FINISHED


# -- how trials end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crash", "kind", "told", "code"),
    [
        (lambda: 1 / 0, "ZeroDivisionError", "division by zero", None),
        (lambda: sys.exit(7), "exit", "sys.exit(7)", 7),
        (lambda: os._exit(0), "exit", "status 0 before the trainable returned", 0),
        (lambda: ctypes.string_at(0), "signal", "killed by SIGSEGV", -11),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal", "out of memory", -9),
    ],
    ids=["exception", "exit", "os-exit", "segfault", "sigkill"],
)
def test_a_crash_is_told_with_its_last_words(experiment, crash, kind, told, code):
    def train(config):
        print("the last words", file=sys.stderr)
        tune.report(x=1)
        crash()

    with experiment(train) as run:
        results, end = run.run("a")
    assert end.outcome is Outcome.FAILED
    assert (end.error.kind, end.error.exit_code) == (kind, code)
    assert told in end.error.message
    assert "the last words" in end.error.traceback
    assert len(results) == 1


def _closed():
    os.close(2)


def _full():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def _of_the_users_own():
    class Mute:
        def __getattr__(self, name):
            raise RuntimeError(f"no {name}")

    sys.stderr = Mute()


@pytest.mark.parametrize("spoil", [_closed, _full, _of_the_users_own])
def test_an_error_is_told_though_it_cannot_be_printed(experiment, spoil):
    def train(config):
        spoil()
        raise ValueError("the cause")

    with experiment(train) as run:
        end = run.run("a")[1]
    assert (end.error.kind, end.error.message) == ("ValueError", "the cause")


def test_the_worker_survives_crashes(experiment):
    def train(config):
        if config["crash"]:
            os.abort()
        return {"x": 1}

    with experiment(train) as run:
        assert run.run("a", {"crash": True})[1].outcome is Outcome.FAILED
        assert run.run("b", {"crash": False})[1].outcome is Outcome.FINISHED


def test_a_killed_zygote_loses_its_trials_and_the_next_start(experiment, ends):
    def train(config):
        tune.report(starter=os.getppid())
        while config["hang"]:
            time.sleep(60)

    with experiment(train) as run:
        run.launch("a", {"hang": True})
        pid = run.until_started("a").pid
        os.kill(run.until_reported("a").results[0]["starter"], signal.SIGKILL)
        end = run.until_ended("a")
        assert (end.outcome, end.error.kind) == (Outcome.LOST, "lost")
        assert "process that starts trials" in end.error.message
        assert ends(pid)
        assert run.run("b", {"hang": False})[1].outcome is Outcome.FINISHED


def test_the_ladder_asks_first(experiment):
    def train(config):
        try:
            while True:
                tune.report(x=1)
                time.sleep(0.01)
        finally:
            Path("cleaned").touch()

    with experiment(train, stop_grace_s=60) as run:
        run.launch("a")
        run.until_reported("a")
        run.kill("a")
        assert run.until_ended("a").outcome is Outcome.STOPPED
        assert (Path(run.env.experiment_dir) / "trial_a" / "cleaned").exists()


def test_the_ladder_terminates_who_does_not_report(experiment):
    def train(config):
        try:
            tune.report(x=1)
            time.sleep(600)
        finally:
            Path("cleaned").touch()

    with experiment(train, stop_grace_s=0.1, term_grace_s=60) as run:
        run.launch("a")
        run.until_reported("a")
        run.kill("a")
        assert run.until_ended("a").outcome is Outcome.STOPPED
        assert (Path(run.env.experiment_dir) / "trial_a" / "cleaned").exists()


def test_the_ladder_kills_who_ignores_everything_with_its_children(experiment, ends):
    def train(config):
        child = subprocess.Popen(["sleep", "600"])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tune.report(child=child.pid)
        while True:
            time.sleep(600)

    with experiment(train, stop_grace_s=0.1, term_grace_s=0.1) as run:
        run.launch("a")
        child = run.until_reported("a").results[0]["child"]
        run.kill("a")
        assert run.until_ended("a").outcome is Outcome.STOPPED
        assert ends(child)


def test_a_trial_that_is_killed_before_it_starts_never_runs(experiment):
    def train(config):
        while True:
            tune.report(x=1)
            time.sleep(0.01)

    license_ = Resources.of(license=1)
    with experiment(train) as run:
        run.launch("holder", resources=license_)
        run.until_reported("holder")
        run.launch("a", resources=license_)  # waits until the license is given back
        run.launch("b", resources=license_)
        run.kill("a")
        run.decide("b", 0, Action.STOP)
        for trial_id in ("a", "b"):  # though the holder goes on
            assert run.until_ended(trial_id).outcome is Outcome.UNSTARTED
        run.decide("holder", 0, Action.STOP)
        run.until_ended("holder")
        run.launch("c", resources=license_)
        run.until_started("c")
        assert not {"a", "b"} & {e.trial_id for e in run.seen if isinstance(e, AttemptStarted)}


def test_close_kills_the_processes(experiment, ends):
    with experiment(forever) as run:
        run.launch("a")
        pid = run.until_started("a").pid
    assert ends(pid)


def test_a_silent_driver_loses_its_trials(experiment, ends):
    with experiment(forever, lease_s=0.5) as run:
        run.launch("a")
        pid = run.until_started("a").pid
        (link,) = run.executor._pool._links.values()
        run.executor._client.loop.add_callback(link.abandon)  # as if the driver were gone
        assert ends(pid)


def test_a_driver_that_comes_back_hears_of_the_loss_and_goes_on(experiment):
    def train(config):
        yield {"x": 0}
        while config["long"]:
            time.sleep(60)

    with experiment(train, lease_s=30) as run:
        run.launch("a", {"long": True})
        run.until_reported("a")
        loop = run.executor._client.loop
        (worker,) = run.executor._client.cluster.workers.values()
        agent = agent_of(worker)
        loop.add_callback(agent.close, run.env.experiment_id)  # what an expired lease does
        assert run.until_ended("a").outcome is Outcome.LOST
        while [len(e.nodes) for e in run.seen if isinstance(e, CapacityChanged)] != [1, 0, 1]:
            run.next_event()
        assert run.run("b", {"long": False})[1].outcome is Outcome.FINISHED


def test_an_attempt_that_does_not_checkpoint_in_time_is_not_cut_off(experiment, tmp_path):
    """Its process ends with its worker; until then it may still get done."""

    def train(config):
        yield {"x": 0}
        while not os.path.exists(config["go"]):
            time.sleep(0.01)
        yield {"x": 1}

    with experiment(train, preemption_grace_s=0.1) as run:
        run.launch("a", {"go": str(tmp_path / "go")})
        run.until_reported("a")
        client = run.executor._client
        (worker,) = client.cluster.workers.values()
        client.sync(agent_of(worker).leave)
        (tmp_path / "go").touch()
        end = run.until_ended("a")
        assert (end.outcome, end.error) == (Outcome.FINISHED, None)


def test_a_task_that_somebody_cancels_is_lost_and_its_process_ended(experiment, ends):
    with experiment(forever, stop_grace_s=0.1) as run:
        run.launch("a")
        pid = run.until_started("a").pid
        (live,) = run.executor._pool.attempts._live.values()
        run.executor._client.cancel(live.tasks[0])
        end = run.until_ended("a")
        assert (end.outcome, end.error.kind) == (Outcome.LOST, "lost")
        assert ends(pid)


# -- resources ----------------------------------------------------------------------------------


def test_shares_of_a_cpu_add_up(experiment):
    def meet(config):
        here = Path(config["dir"])
        (here / tune.get_trial_id()).touch()
        while len(list(here.iterdir())) < 40:
            time.sleep(0.02)
        tune.report(met=True)

    with experiment(meet) as run:
        meeting = Path(run.env.experiment_dir) / "meeting"
        meeting.mkdir()
        names = [f"t{number}" for number in range(40)]
        for name in names:  # 40 times 0.05 is all there is: none may wait for another to end
            run.launch(name, {"dir": str(meeting)}, Resources.of(CPU=0.05))
        ended = set()
        while ended != set(names):
            event = run.next_event()
            if hasattr(event, "outcome"):
                assert event.outcome is Outcome.FINISHED
                ended.add(event.trial_id)


def test_the_environment_of_a_trial(experiment, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def env(config):
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MINE")
        return {name: os.environ.get(name) for name in names}

    def seen(results):
        return [results[0][k] for k in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MINE")]

    with experiment(env) as run:
        assert seen(run.run("a")[0]) == ["", "1", None]
        results, _ = run.run("b", resources=Resources.of(CPU=1.5, GPU=2), devices=("1", "3"))
        assert seen(results) == ["1,3", "2", None]
        assert results[0]["MKL_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    chosen = {"CUDA_VISIBLE_DEVICES": "7", "MINE": "yes"}
    with experiment(env, env_vars=chosen) as run:
        assert seen(run.run("a")[0]) == ["7", "3", "yes"]


def test_declared_gpus_have_ids(experiment):
    with experiment(forever) as run:
        (node,) = run.executor.capacity()
        assert len(node.devices) == 4
        assert node.resources == Resources.of(CPU=2, GPU=4, license=1)


def test_experiments_that_share_a_node_do_not_share_a_device(experiment):
    def held(config):
        tune.report(gpus=os.environ["CUDA_VISIBLE_DEVICES"])
        time.sleep(600)

    with experiment(held) as one, experiment(held) as two:
        devices = one.executor.capacity()[0].devices
        one.launch("a", resources=Resources.of(GPU=1), devices=devices[:1])
        assert one.until_reported("a").results[0]["gpus"] == devices[0]
        two.launch("a", resources=Resources.of(GPU=1), devices=devices[:1])
        assert two.until_reported("a").results[0]["gpus"] in devices[1:]


def test_an_impossible_request_is_told_at_once():
    executor = DaskExecutor(connect())
    executor.validate_request(Resources.of(CPU=2, GPU=4, license=1))
    with pytest.raises(InsufficientResources, match=r"asks for 9 CPU.*has 2 CPU, 4 GPU, 1 license"):
        executor.validate_request(Resources.of(CPU=9))
    with pytest.raises(InsufficientResources, match="license"):
        executor.validate_request(Resources.of(license=2))


# -- experiments --------------------------------------------------------------------------------


def test_three_experiments_at_once(experiment):
    def train(config):
        for x in range(200):
            yield {"x": config["base"] + x}

    with experiment(train) as one, experiment(train) as two, experiment(train) as three:
        for base, run in enumerate((one, two, three)):
            for trial in "abc":
                run.launch(trial, {"base": 1000 * base})
        for base, run in enumerate((one, two, three)):
            missing = set("abc")
            while missing:
                event = run.next_event()
                if hasattr(event, "outcome"):
                    missing.remove(event.trial_id)
            for trial in "abc":
                expected = [1000 * base + x for x in range(200)]
                assert [result["x"] for result in run.results(trial)] == expected


def test_output_goes_to_the_trial_directory_and_empty_files_go(experiment):
    def talk(config):
        if config["talk"]:
            print("hello")
        return {"x": 1}

    with experiment(talk) as run:
        run.run("a", {"talk": True})
        run.run("b", {"talk": False})
        directory = Path(run.env.experiment_dir)
        assert (directory / "trial_a" / "stdout").read_text() == "hello\n"
        assert not (directory / "trial_a" / "stderr").exists()
        assert not (directory / "trial_b" / "stdout").exists()


def test_a_node_that_does_not_see_the_directory_uses_its_own(experiment):
    def where(config):
        return {"dir": tune.get_trial_dir()}

    run = experiment(where)
    (Path(run.env.experiment_dir) / ".prefect_tune_experiment").write_text("another one")
    with run:
        results, end = run.run("a")
        assert end.outcome is Outcome.FINISHED
        own = Path(results[0]["dir"]).parent
        assert not own.is_relative_to(run.env.experiment_dir)
        assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (os.getuid(), 0o700)
    assert not list(own.parent.glob(f"{own.name}*"))


def test_a_trainable_that_cannot_be_imported_is_named(experiment):
    run = experiment(forever)
    source = run.env.trainable
    broken = type(source)("train", b"cno_such_module\ntrain\n.", "no_such_module", (), source.cwd)
    run.env = type(run.env)(run.env.experiment_id, "test", broken, run.env.experiment_dir)
    with pytest.raises(ClusterError, match="no_such_module"), run:
        pass


def test_configurations_with_objects_of_any_class(experiment):
    class Layer:
        def __init__(self, size):
            self.size = size

    def train(config):
        return {"size": config["layer"].size, "even": config["is_even"](4)}

    with experiment(train) as run:
        results, _ = run.run("a", {"layer": Layer(3), "is_even": lambda x: x % 2 == 0})
    assert (results[0]["size"], results[0]["even"]) == (3, True)


def test_a_configuration_that_cannot_be_pickled_fails_its_trial_only(experiment):
    with experiment(lambda config: {"x": 1}) as run:
        _, end = run.run("a", {"lock": threading.Lock()})
        assert end.outcome is Outcome.FAILED
        assert "`config['lock']` (lock) cannot be sent" in end.error.message
        assert run.run("b")[1].outcome is Outcome.FINISHED


def test_bodies_run_with_the_annotations_of_dask(experiment):
    executor = DaskExecutor(connect())
    future = executor.submit_body(divmod, (7, 3), {}, {"resources": {"license": 1}, "priority": 2})
    assert future.result(timeout=30) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        executor.submit_body(divmod, (1, 0)).result(timeout=30)
    with pytest.raises(InsufficientResources, match=r"'quantum': 1.*no worker declares"):
        executor.submit_body(divmod, (7, 3), {}, {"resources": {"quantum": 1}})


def test_nothing_runs_on_an_executor_that_is_not_open():
    with pytest.raises(ClusterError, match="No experiment is open"):
        DaskExecutor(connect()).decide([])
