"""Requests to a sweep that runs, from another thread as from another process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune import control
from prefect_tune.cli.main import main
from prefect_tune.engine import control as engine_control
from prefect_tune.error import ExperimentInterrupted, InvalidArgument, TuneError
from prefect_tune.filesystem.location import Location
from prefect_tune.storage.control_requests import CONTROL_DIR, ControlRequest, send


def waits(config: dict[str, Any]) -> None:
    """Reports until there is a file named `go`."""
    while not (Path(config["directory"]) / "go").exists():
        time.sleep(0.02)
        tune.report({"score": 1.0})
    tune.report({"score": 2.0})


class Running:
    """A sweep in a thread of its own.

    Attributes:
        directory: Its directory.
        starts: Is set at each start of a trial.
    """

    def __init__(self, root: Path, **changes: Any) -> None:
        self.root = root
        self.directory = root / "sweep"
        self.started = threading.Semaphore(0)
        self.outcome: Any = None
        outer = self

        class Told(tune.Callback):
            def on_trial_result(self, *_: Any, result: dict[str, Any], **__: Any) -> None:
                if result["training_iteration"] == 1:
                    outer.started.release()

        self.arguments = {
            "run_or_experiment": waits,
            "config": {"directory": str(root)},
            "name": "sweep",
            "storage_path": str(root),
            "metric": "score",
            "mode": "max",
            "num_samples": 2,
            "max_concurrent_trials": 1,
            "callbacks": [Told()],
            "orchestrate": False,
            "verbose": 0,
            **changes,
        }
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.started.acquire(timeout=60), self.outcome

    def _run(self) -> None:
        try:
            self.outcome = tune.run(**self.arguments)
        except BaseException as error:
            self.outcome = error

    def go(self) -> None:
        (self.root / "go").touch()

    def end(self) -> Any:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.outcome

    def records(self, action: str) -> list[dict[str, Any]]:
        lines = (self.directory / "journal.jsonl").read_bytes().splitlines()
        found = [json.loads(line[line.index(b"{") :]) for line in lines if b"ControlRec" in line]
        return [record for record in found if record["action"] == action]


@pytest.fixture
def running(tmp_path: Path) -> Any:
    sweeps: list[Running] = []

    def start(**changes: Any) -> Running:
        sweeps.append(Running(tmp_path, **changes))
        return sweeps[-1]

    yield start
    for sweep in sweeps:
        sweep.go()
        sweep.thread.join(60)


Start = Callable[..., Running]


def test_a_sweep_that_is_paused_starts_nothing_until_it_is_resumed(running: Start) -> None:
    sweep = running()
    assert control.pause(sweep.directory) == "paused"
    with pytest.raises(TuneError, match=r"paused by \w+@.* already"):
        control.pause(sweep.directory)
    sweep.go()
    while not [t for t in tune.ExperimentAnalysis(str(sweep.directory)).trials if t.is_finished()]:
        time.sleep(0.1)
    assert sweep.thread.is_alive()
    assert control.resume(str(sweep.directory)) == "resumed"
    assert [trial.status for trial in sweep.end().trials] == ["TERMINATED"] * 2


def test_a_sweep_that_is_stopped_lets_end_what_runs(running: Start, capsys: Any) -> None:
    sweep = running()
    assert main(["stop", str(sweep.directory)]) == 0
    assert capsys.readouterr().out == f"{sweep.directory}: stopped.\n"
    with pytest.raises(TuneError, match="ending already"):
        control.add_samples(sweep.directory, 1)
    sweep.go()
    trials = sweep.end().trials
    assert trials[0].last_result["score"] == 2.0, "it has run to its end"
    assert [trial.status for trial in trials] in (["TERMINATED"], ["TERMINATED", "PENDING"])


def test_a_sweep_that_is_cancelled_ends_now(running: Start) -> None:
    sweep = running()
    control.cancel(sweep.directory)
    error = sweep.end()
    assert isinstance(error, ExperimentInterrupted)
    assert "cancelled by" in str(error)


def test_one_trial_is_stopped(running: Start, capsys: Any) -> None:
    sweep = running()
    (trial, *_) = tune.ExperimentAnalysis(str(sweep.directory)).trials
    with pytest.raises(TuneError, match="no trial 'x'"):
        control.stop_trial(sweep.directory, "x")
    assert main(["stop-trial", str(sweep.directory), str(trial)]) == 0
    assert sweep.started.acquire(timeout=60), "the next one starts"
    with pytest.raises(TuneError, match="has ended"):
        control.stop_trial(sweep.directory, trial.trial_id)
    sweep.go()
    assert [t.last_result["score"] for t in sweep.end().trials] == [1.0, 2.0]


def test_samples_are_added_and_a_resume_knows_of_them(running: Start) -> None:
    sweep = running(num_samples=1)
    assert control.add_samples(sweep.directory, 2) == "extended by 2 samples"
    control.cancel(sweep.directory)
    sweep.end()
    (record,) = sweep.records("add_samples")
    assert record["values"] == {"samples": 2}
    sweep.go()
    analysis = tune.run(**{**sweep.arguments, "resume": True})
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 3


def test_limits_are_set(running: Start, capsys: Any) -> None:
    sweep = running(num_samples=4)
    assert main(["set", str(sweep.directory), "max_concurrent=2"]) == 0
    assert sweep.started.acquire(timeout=60), "a second one runs"
    control.set(sweep.directory, stop={"training_iteration": 3})
    assert {t.status for t in sweep.end().trials} == {"TERMINATED"}
    assert max(t.last_result["score"] for t in sweep.outcome.trials) == 1.0


def test_its_time_is_set(running: Start) -> None:
    sweep = running()
    control.set(sweep.directory, time_left_s=0.1)
    assert sweep.end().trials[0].status == "TERMINATED"


def at_once(*calls: Callable[[], str]) -> list[str]:
    """What requests from several threads that start together return, or their errors."""
    together = threading.Barrier(len(calls))

    def call(request: Callable[[], str]) -> str:
        together.wait()
        try:
            return request()
        except TuneError as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_of_requests_at_once_each_sees_what_those_before_have_done(running: Start) -> None:
    sweep = running(num_samples=4)
    answers = at_once(*[lambda: control.pause(sweep.directory)] * 4)
    assert answers.count("paused") == 1
    assert sum("paused by" in answer and "already" in answer for answer in answers) == 3
    assert len(sweep.records("pause")) == 1
    answers = at_once(
        lambda: control.add_samples(sweep.directory, 1),
        lambda: control.add_samples(sweep.directory, 2),
        lambda: control.set(sweep.directory, max_concurrent=2),
        lambda: control.resume(sweep.directory),
    )
    assert [answer.split()[0] for answer in answers] == ["extended", "extended", "set", "resumed"]
    assert sorted(r["values"]["samples"] for r in sweep.records("add_samples")) == [1, 2]
    added, stopped = at_once(
        lambda: control.add_samples(sweep.directory, 3),
        lambda: control.stop(sweep.directory),
    )
    assert stopped == "stopped"
    # It came before the other, or is told why it came too late.
    done = added == "extended by 3 samples"
    assert done or "ending already (stopped by" in added
    assert len(sweep.records("add_samples")) == 2 + done


def test_a_sweep_that_has_been_stopped_can_still_be_cancelled(running: Start) -> None:
    sweep = running()
    control.stop(sweep.directory)
    assert control.set(sweep.directory, stop={"score": 9}) == "set stop:score=9"
    assert control.cancel(sweep.directory) == "cancelled"
    assert "cancelled by" in str(sweep.end())


def test_a_request_at_the_end_of_a_sweep_does_not_wait_for_nobody(
    running: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_control, "_POLL_S", 30.0)
    sweep = running(num_samples=1)
    monkeypatch.setattr(engine_control, "_POLL_S", 0.2)
    requests = sweep.directory / CONTROL_DIR

    def end_once_asked() -> str:
        while not list(requests.glob("*")):
            time.sleep(0.02)
        sweep.go()
        return ""

    answer, _ = at_once(lambda: control.pause(sweep.directory), end_once_asked)
    assert "ending already (done)" in answer or "it has just ended" in answer
    sweep.end()
    assert not list(requests.glob("*"))


def test_what_cannot_be_done_says_why(running: Start, tmp_path: Path, capsys: Any) -> None:
    sweep = running()
    for values, message in (
        ({}, "nothing to set"),
        ({"max_concurrent": 0.5}, "max_concurrent"),
        ({"max_concurrent": float("inf")}, "max_concurrent"),
        ({"time_left_s": -1}, "time_left_s"),
        ({"lr": 1}, "no 'lr'"),
        ({"stop:loss": float("nan")}, "threshold of 'loss' is nan"),
    ):
        with pytest.raises(TuneError, match=message):
            send(Location(str(sweep.directory)), ControlRequest("set", values=values))
    with pytest.raises(TuneError, match="no action"):
        send(Location(str(sweep.directory)), ControlRequest("halt"))
    with pytest.raises(SystemExit):
        main(["set", str(sweep.directory), "lr=1"])
    with pytest.raises(SystemExit):
        main(["set", str(sweep.directory), "max_concurrent"])
    sweep.go()
    sweep.end()
    with pytest.raises(TuneError, match="does not run: it has ended"):
        control.pause(sweep.directory)
    with pytest.raises(InvalidArgument, match="there is none in"):
        control.pause(tmp_path / "nothing")
