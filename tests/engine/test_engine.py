"""The loop: journal first, then effects; errors end it in order."""

from __future__ import annotations

import errno
import json
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.callback import Callback
from prefect_tune.config import FailureConfig, RunConfig, TuneConfig
from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    Event,
    Outcome,
    ResultReported,
)
from prefect_tune.coordinator.records import decode_event
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.engine.setup.start_checkpoint import RestoreFrom
from prefect_tune.error import StorageError
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.search import Searcher
from prefect_tune.settings import load_settings
from prefect_tune.stopper import Stopper
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import parse_header
from prefect_tune.trainable.runner import pickle_exception

from .inline_executor import InlineExecutor, experiment, run, trainable


def test_runs_all_samples_and_journals_every_result(tmp_path):
    one = experiment(tmp_path, InlineExecutor())
    run(one)
    assert [trial.status for trial in one.trials] == ["TERMINATED"] * 5
    journal = LocalJournal(tmp_path / "e" / JOURNAL_FILE)
    events = [decode_event(record) for record in list(journal.read())[1:]]
    journal.close()
    results = [event for event in events if isinstance(event, ResultReported)]
    assert sum(len(event.results) for event in results) == 15
    assert sum(isinstance(event, AttemptEnded) for event in events) == 5


def test_what_led_to_a_launch_is_in_the_journal_before_it_happens(tmp_path):
    executor = InlineExecutor()
    one = experiment(tmp_path, executor)

    def check(launch: Launch) -> None:
        assert launch.trial_id in (tmp_path / "e" / JOURNAL_FILE).read_text()

    executor.before_launch = check
    run(one)
    assert len(executor.launched) == 5


def test_the_replayed_journal_gives_the_same_trials(tmp_path):
    one = experiment(tmp_path, InlineExecutor(), stop={"training_iteration": 2})
    run(one)
    journal = LocalJournal(tmp_path / "e" / JOURNAL_FILE)
    other = experiment(tmp_path / "other", InlineExecutor(), stop={"training_iteration": 2})
    other.coordinator.handle(CapacityChanged(0.0, other.executor.capacity()))
    for record in list(journal.read())[1:]:
        other.coordinator.handle(decode_event(record))
    journal.close()
    other.close()
    assert [(t.trial_id, t.status, t.results_seen) for t in other.trials] == [
        (t.trial_id, t.status, t.results_seen) for t in one.trials
    ]


def test_a_callback_that_raises_is_named_and_ends_what_runs(tmp_path):
    class Bad(Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            raise ZeroDivisionError("oops")

    executor = InlineExecutor(reports=10**6)
    one = experiment(tmp_path, executor, callbacks=[Bad()], stop=lambda trial_id, result: False)
    with pytest.raises(ZeroDivisionError, match=r"Bad.*on_trial_result"):
        run(one)
    assert executor.killed


def events_in(path: Path) -> list[Event]:
    journal = LocalJournal(path / "e" / JOURNAL_FILE)
    records = [record for record in journal.read() if parse_header(record) is None]
    journal.close()
    return [decode_event(record) for record in records]


class FailsOnce(FIFOScheduler):
    """Raises at the last result of the second trial."""

    failed = False

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        second = any(trial is other for other in controller.get_trials()[1:2])
        if second and result["training_iteration"] == 3 and not type(self).failed:
            type(self).failed = True
            raise ZeroDivisionError("oops")
        return str(super().on_trial_result(controller, trial, result))


def test_what_came_before_a_scheduler_that_raises_is_not_lost(tmp_path):
    first = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=2, scheduler=FailsOnce()))
    with pytest.raises(ZeroDivisionError):
        run(first)
    # Both reported for the third time in one batch.
    assert [type(event) for event in events_in(tmp_path)].count(ResultReported) == 5
    again = TuneConfig(num_samples=2, scheduler=FailsOnce())
    resumed = experiment(tmp_path, InlineExecutor(), again, resume=True)
    assert [trial.results_seen for trial in resumed.trials] == [3, 2]
    run(resumed)
    assert {trial.status for trial in resumed.trials} == {"TERMINATED"}


class Adding(Callback):
    """Adds to results what the callbacks behind it, and the loggers, are to have."""

    def on_trial_result(self, *args: Any, result: dict[str, Any], **info: Any) -> None:
        result["added"] = result["training_iteration"] * 2
        result["info"]["deep"] = 1


class Seeing(Callback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_trial_result(self, *args: Any, result: dict[str, Any], **info: Any) -> None:
        self.seen.append(result["added"])


class AddingStopper(Stopper):
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        result["by_stopper"] = 1
        return False

    def stop_all(self) -> bool:
        return False


def test_what_callbacks_and_stoppers_add_to_results_is_logged(tmp_path):
    seeing = Seeing()
    one = experiment(
        tmp_path,
        InlineExecutor(more={"info": {}}),
        TuneConfig(num_samples=1),
        callbacks=[Adding(), seeing],
        stop=AddingStopper(),
    )
    run(one)
    (trial,) = one.trials
    directory = tmp_path / "e" / trial.relative_logdir
    logged = [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]
    assert seeing.seen == [result["added"] for result in logged] == [2, 4, 6]
    assert [(r["info"], r["by_stopper"]) for r in logged] == [({"deep": 1}, 1)] * 3
    assert "added" in (directory / "progress.csv").read_text()
    assert "added" not in trial.last_result


def test_results_behind_a_callback_that_raises_are_logged_when_it_is_resumed(tmp_path):
    class Bad(Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            raise ZeroDivisionError("oops")

    first = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=1), callbacks=[Bad()])
    with pytest.raises(ZeroDivisionError, match="Bad"):
        run(first)
    resumed = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=1), resume=True)
    run(resumed)
    reported = [e for e in events_in(tmp_path) if isinstance(e, ResultReported)]
    (trial,) = resumed.trials
    lines = (tmp_path / "e" / trial.relative_logdir / "result.json").read_text().splitlines()
    assert len(lines) == sum(len(event.results) for event in reported) == trial.results_seen


def test_a_callback_that_raises_at_the_end_keeps_nothing_from_being_closed(tmp_path):
    class Bad(Callback):
        def on_experiment_end(self, *args: Any, **info: Any) -> None:
            raise ZeroDivisionError("oops")

    class Launcher(DirectLauncher):
        closed = False

        def close(self, timeout: float) -> None:
            self.closed = True

    told: list[bool] = []
    one = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=1), callbacks=[Bad()])
    launcher = Launcher(one.executor)
    with pytest.raises(ZeroDivisionError, match="Bad"):
        one.run(launcher, [lambda coordinator: told.append(launcher.closed)])
    assert launcher.closed
    assert told[-1], "what it has come to is shown"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class FailingExecutor(InlineExecutor):
    def launch(self, launch: Launch, place: Any) -> Any:
        error = AttemptError("Mute", "", pickled=pickle_exception(Mute()))
        self.emit(AttemptEnded(1.0, launch.trial_id, launch.attempt, Outcome.FAILED, error))
        return Future()


class MuteScheduler(FIFOScheduler):
    def on_trial_result(self, *args: Any) -> str:
        raise Mute


class MuteCallback(Callback):
    def on_trial_result(self, *args: Any, **info: Any) -> None:
        raise Mute


def test_errors_that_have_no_words_are_raised_all_the_same(tmp_path):
    raising = FailureConfig(fail_fast="raise")
    with pytest.raises(Mute):
        run(experiment(tmp_path / "trial", FailingExecutor(), failure_config=raising))
    mute = TuneConfig(num_samples=2, scheduler=MuteScheduler())
    with pytest.raises(Mute):
        run(experiment(tmp_path / "scheduler", InlineExecutor(), mute))
    with pytest.raises(Mute) as raised:
        run(experiment(tmp_path / "callback", InlineExecutor(), callbacks=[MuteCallback()]))
    assert raised.value.__notes__ == [
        "The callback MuteCallback failed in on_trial_result: Mute: <Mute>"
    ]


def test_what_fails_at_the_end_does_not_hide_why_it_has_come(tmp_path, monkeypatch, caplog):
    """On a full disk, the journal that cannot be written is followed by every logger."""

    class Full(Callback):
        def on_experiment_end(self, *args: Any, **info: Any) -> None:
            raise OSError("no room for a callback")

    write = LocalJournal.append

    def append(self: Any, records: Any) -> None:
        if any(b"ResultReported" in record for record in records):
            raise StorageError("no room for the journal")
        write(self, records)

    one = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=1), callbacks=[Full()])
    monkeypatch.setattr(LocalJournal, "append", append)
    with pytest.raises(StorageError, match="no room for the journal"):
        run(one)
    assert "no room for a callback" in caplog.text


def test_a_search_that_raises_is_named(tmp_path):
    class Bad(Searcher):
        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            raise RuntimeError("no idea")

    one = experiment(tmp_path, InlineExecutor(), TuneConfig(search_alg=Bad(), num_samples=2))
    with pytest.raises(RuntimeError, match="no idea") as raised:
        run(one)
    assert "Bad" in raised.value.__notes__[0]


def test_an_experiment_that_cannot_be_made_is_free_again(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    given = tmp_path / "given"
    given.mkdir()
    (given / "weights").write_text("1")
    request = ExperimentRequest(
        trainable,
        run_config=RunConfig(name="e", storage_path=str(tmp_path), verbose=0),
        restore=str(given),
    )
    setup = make_setup(request, load_settings())
    with monkeypatch.context() as patch:
        patch.setattr(RestoreFrom, "copy_to", full)
        with pytest.raises(OSError, match="No space") as caught:
            RunningExperiment(setup, InlineExecutor())
    # A notebook keeps the last error, and with it everything that it happened in.
    assert caught.value.__traceback__ is not None
    RunningExperiment(setup, InlineExecutor()).close()


def test_a_slow_search_does_not_hold_up_reports(tmp_path):
    asked_again, all_reported = threading.Event(), threading.Event()

    class Slow(Searcher):
        calls = 0

        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            self.calls += 1
            if self.calls == 2:
                asked_again.set()
                # Were reports to wait for this call, the first trial could never end meanwhile.
                assert all_reported.wait(30)
            return {"x": self.calls}

        def on_trial_complete(self, trial_id: str, *args: Any, **kwargs: Any) -> None: ...

    class Watch(Callback):
        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            if asked_again.is_set():
                all_reported.set()

    executor = InlineExecutor()
    executor.before_launch = lambda launch: None if executor.launched else wait(asked_again)
    one = experiment(
        tmp_path, executor, TuneConfig(search_alg=Slow(), num_samples=2), callbacks=[Watch()]
    )
    run(one)
    assert len(one.trials) == 2


def wait(event: threading.Event) -> None:
    assert event.wait(30)


def test_an_interrupted_run_keeps_its_results(tmp_path):
    executor = InlineExecutor(reports=4)
    one = experiment(tmp_path, executor, TuneConfig(num_samples=-1))

    def interrupt(launch: Launch) -> None:
        if len(executor.launched) == 6:
            from prefect_tune.coordinator.events import Control, ControlReceived

            one.inbox.put(ControlReceived(9.0, Control.INTERRUPT, reason="test"))

    executor.before_launch = interrupt
    run(one)
    assert one.coordinator.finished
    assert len(one.trials) >= 6
    assert all(
        (tmp_path / "e" / t.relative_logdir / "result.json").exists() for t in one.trials[:5]
    )
