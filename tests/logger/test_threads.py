"""The logger threads: order, back-pressure, failures, slow loggers."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from prefect_tune.callback import Callback
from prefect_tune.coordinator.commands import Notice
from prefect_tune.error import TuneError
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
    default_loggers,
)
from prefect_tune.logger.base import accepts_batches
from prefect_tune.logger.threads import Backlog, LoggerThreads, LogRecord, split_callbacks
from prefect_tune.testing.logger import example_results, example_trial


class Recorder(LoggerCallback):
    """Remembers its calls; works only while `gate` is open."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()

    def setup(self, *args: Any, **info: Any) -> None:
        self.calls.append(("setup", info))

    def log_trial_start(self, trial: Trial) -> None:
        self.gate.wait()
        self.calls.append(("start", trial.trial_id))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self.gate.wait()
        self.calls.append(("result", iteration, trial.trial_id, result["training_iteration"]))
        result.clear()  # must not harm anybody else

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self.calls.append(("end", trial.trial_id, failed))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self.calls.append(("experiment_end", len(trials)))

    @property
    def steps(self) -> list[int]:
        return [call[3] for call in self.calls if call[0] == "result"]


class OwnThread(Recorder):
    own_thread: ClassVar[bool] = True


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return example_trial(tmp_path)


def result_record(trial: Trial, count: int = 1, first: int = 1) -> LogRecord:
    return LogRecord(Notice.TRIAL_RESULT, trial, example_results(trial, count, first))


def test_loggers_hear_everything_in_order(trial: Trial) -> None:
    recorder = Recorder()
    thread = LoggerThreads([recorder])
    thread.setup(num_samples=3)
    thread.submit([LogRecord(Notice.TRIAL_START, trial), result_record(trial, 2)], iteration=7)
    thread.submit([LogRecord(Notice.TRIAL_ERROR, trial)])
    assert thread.close([trial])
    assert recorder.calls == [
        ("setup", {"num_samples": 3}),
        ("start", trial.trial_id),
        ("result", 7, trial.trial_id, 1),
        ("result", 7, trial.trial_id, 2),
        ("end", trial.trial_id, True),
        ("experiment_end", 1),
    ]


def test_a_method_for_single_results_is_called_if_a_subclass_overrides_it(trial: Trial) -> None:
    class Own(CSVLoggerCallback):
        def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
            super().log_trial_result(iteration, trial, {"own": result["loss"] * 2})

    class InBatches(Own):
        def log_trial_results(self, *arguments: Any) -> None:
            CSVLoggerCallback.log_trial_results(self, *arguments)

    assert accepts_batches(CSVLoggerCallback())
    assert not accepts_batches(Own())
    assert accepts_batches(InBatches())
    thread = LoggerThreads([Own()])
    thread.setup()
    record = result_record(trial, 2)
    thread.submit([record])
    thread.close()
    text = (Path(trial.logdir) / "progress.csv").read_text()
    assert text.split() == ["own", *(str(result["loss"] * 2) for result in record.results)]


@pytest.mark.parametrize("kind", [CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback])
def test_a_logger_that_others_pass_results_on_to_writes_at_once(
    trial: Trial, kind: type[LoggerCallback]
) -> None:
    logger = kind()  # nobody calls `log_trial_start` or `flush`
    logger.log_trial_result(1, trial, example_results(trial, 1)[0])
    (path,) = (path for path in Path(trial.logdir).iterdir() if not path.name.startswith("params"))
    assert b"loss" in path.read_bytes()
    if kind is JsonLoggerCallback:
        assert json.loads((Path(trial.logdir) / "params.json").read_bytes()) == trial.config


def test_overridden_hooks_get_the_trials_and_a_copy(trial: Trial) -> None:
    class Hooked(LoggerCallback):
        def on_trial_result(
            self,
            iteration: int,
            trials: list[Trial],
            trial: Trial,
            result: dict[str, Any],
            **info: Any,
        ) -> None:
            self.seen = (iteration, trials, dict(result))
            result.clear()

    logger = Hooked()
    thread = LoggerThreads([logger])
    assert thread.wants_trials
    assert not LoggerThreads([Recorder(), *default_loggers([], {})]).wants_trials
    thread.setup()
    record = result_record(trial)
    thread.submit([record], iteration=3, trials=[trial])
    thread.close()
    assert logger.seen == (3, [trial], record.results[0])
    assert record.results[0]["training_iteration"] == 1


def flush(threads: LoggerThreads) -> bool:
    """Wait until all that was submitted is written."""
    is_done = threads.mark(lambda logger: None)
    deadline = time.monotonic() + 30
    while not is_done() and time.monotonic() < deadline:
        time.sleep(0.001)
    return is_done()


def test_a_mark_is_reached_behind_what_was_submitted(trial: Trial) -> None:
    recorder = Recorder()
    thread = LoggerThreads([recorder])
    thread.setup()
    thread.submit([result_record(trial, 50)])
    assert flush(thread)
    assert recorder.steps == list(range(1, 51))
    thread.close()


def test_close_names_a_logger_that_hangs(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.gate.clear()
    thread = LoggerThreads([recorder])
    thread.setup()
    thread.submit([result_record(trial)])
    assert not thread.close(timeout=0.01)
    # The result, and the end of the experiment.
    assert "Recorder still has 2" in caplog.text
    recorder.gate.set()


def test_submit_waits_while_too_much_is_queued(trial: Trial) -> None:
    recorder = Recorder()
    recorder.gate.clear()
    thread = LoggerThreads([recorder], max_pending=10)
    thread.setup()
    thread.submit([result_record(trial, 11)])
    submitted = threading.Event()

    def submit() -> None:
        thread.submit([result_record(trial, 1, first=12)])
        submitted.set()

    other = threading.Thread(target=submit)
    other.start()
    assert not submitted.wait(0.05)
    recorder.gate.set()
    assert submitted.wait(10)
    other.join()
    thread.close()
    assert recorder.steps == list(range(1, 13))


def test_a_slow_logger_with_its_own_thread_delays_nobody(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    slow, fast = OwnThread(), Recorder()
    slow.gate.clear()
    thread = LoggerThreads([slow, fast], max_pending=10)
    thread.setup()
    for first in range(1, 200, 10):
        thread.submit([result_record(trial, 10, first=first)])
    thread.submit([LogRecord(Notice.TRIAL_COMPLETE, trial)])
    while ("end", trial.trial_id, False) not in fast.calls:
        fast.gate.wait()  # the queue of the fast one drains although the slow one stands still
    assert fast.steps == list(range(1, 201))
    slow.gate.set()
    thread.close([trial])
    assert len(slow.steps) < 200
    assert slow.steps == sorted(slow.steps)
    assert slow.calls[-2:] == [("end", trial.trial_id, False), ("experiment_end", 1)]
    assert "OwnThread cannot keep up" in caplog.text
    assert f"{200 - len(slow.steps)} results were left out" in caplog.text


@pytest.mark.parametrize("raised", [ValueError("disk full"), SystemExit(3)])
def test_a_failing_logger_is_named_and_does_not_stop_the_others(
    trial: Trial, raised: BaseException
) -> None:
    class Failing(LoggerCallback):
        calls = 0

        def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
            self.calls += 1
            raise raised

    failing, recorder = Failing(), Recorder()
    thread = LoggerThreads([failing, recorder])
    thread.setup()
    assert thread.error is None
    thread.submit([result_record(trial, 3)])
    assert flush(thread)
    error: BaseException | None = thread.error
    if isinstance(raised, Exception):
        assert error is raised
        (told,) = raised.__notes__
    else:  # which would end the process
        assert isinstance(error, TuneError)
        assert error.__cause__ is raised
        told = str(error)
    assert "The callback Failing failed in on_trial_result" in told
    assert thread.close()
    assert failing.calls == 1
    assert recorder.steps == [1, 2, 3]


def test_a_second_failure_is_logged(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(LoggerCallback):
        def __init__(self, text: str) -> None:
            self.text = text

        def log_trial_start(self, trial: Trial) -> None:
            raise RuntimeError(self.text)

    thread = LoggerThreads([Failing("first"), Failing("second")])
    thread.setup()
    thread.submit([LogRecord(Notice.TRIAL_START, trial)])
    thread.close()
    assert "first" in str(thread.error)
    assert any("second" in r.message for r in caplog.records if r.levelno == logging.ERROR)


def test_a_failing_setup_is_raised_at_once() -> None:
    class Failing(LoggerCallback):
        def setup(self, *args: Any, **info: Any) -> None:
            raise OSError("no key")

    with pytest.raises(OSError, match=r"Failing.*setup.*no key"):
        LoggerThreads([Failing()]).setup()


def test_other_hooks_reach_the_loggers_that_have_them(trial: Trial) -> None:
    class Checkpoints(Recorder):
        def on_checkpoint(
            self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
        ) -> None:
            self.calls.append(("checkpoint", checkpoint))

    logger = Checkpoints()
    thread = LoggerThreads([logger])
    thread.setup()
    thread.post("on_checkpoint", iteration=1, trials=[trial], trial=trial, checkpoint="path")
    thread.post("on_step_end", iteration=1, trials=[trial])
    thread.close()
    assert ("checkpoint", "path") in logger.calls


def test_closing_twice_and_without_loggers(trial: Trial) -> None:
    recorder = Recorder()
    for thread in (LoggerThreads([recorder]), LoggerThreads([])):
        thread.setup()
        thread.submit([result_record(trial)])
        assert flush(thread)
        assert thread.close()
        assert thread.close()
    assert [call[0] for call in recorder.calls].count("experiment_end") == 1


def test_loggers_are_told_from_other_callbacks() -> None:
    first, logger, last = Callback(), Recorder(), Callback()
    assert split_callbacks([first, logger, last]) == ([first, last], [logger])


def test_a_backlog_is_logged_after_setup_and_before_anything_else(tmp_path: Path) -> None:
    calls: list[Any] = []

    class Order(LoggerCallback):
        def setup(self, *args: Any, **info: Any) -> None:
            calls.append("setup")

        def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
            calls.append(result["step"])

        def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
            calls.append("end")

    logger = Order()
    trial = example_trial(tmp_path)
    thread = LoggerThreads([logger])
    thread.setup([Backlog(logger, trial, [{"step": 1}, {"step": 2}])])
    thread.submit([LogRecord(Notice.TRIAL_RESULT, trial, [{"step": 3}])])
    thread.close()
    assert calls == ["setup", 1, 2, "end", 3]


@pytest.mark.parametrize("own_thread", [False, True])
def test_loggers_that_fail_are_called_again_if_failures_are_logged(
    trial: Trial, caplog: pytest.LogCaptureFixture, own_thread: bool
) -> None:
    class Failing(Recorder):
        def setup(self, *args: Any, **info: Any) -> None:
            raise OSError("no key")

        def log_trial_start(self, trial: Trial) -> None:
            raise OSError("no line")

        def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
            super().log_trial_result(iteration, trial, result)
            raise OSError("no line")

    failing, recorder = Failing(), Recorder()
    type(failing).own_thread = own_thread
    thread = LoggerThreads([failing, recorder], log_errors=True)
    thread.setup([Backlog(failing, trial, example_results(trial, 1))])
    thread.submit([LogRecord(Notice.TRIAL_START, trial)])
    for first in (1, 2, 3):
        thread.submit([result_record(trial, 1, first)])
    assert thread.close()
    assert thread.error is None
    assert failing.steps == [1, 1, 2, 3]
    assert recorder.steps == [1, 2, 3]
    told = [record.getMessage() for record in caplog.records]
    for hook in ("setup", "log_trial_results", "on_trial_start", "on_trial_result"):
        assert sum(f"Failing failed in {hook}: OSError" in text for text in told) == 1, told
    assert "The callback Failing failed 3 times in on_trial_result." in told


class Adds(LoggerCallback):
    """Adds to results."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        result["added"] = result["training_iteration"] * 10.0


class Sees(LoggerCallback):
    """Remembers what it is shown."""

    def __init__(self) -> None:
        self.seen: list[float | None] = []
        self.hooks: list[str] = []

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self.seen.append(result.get("added"))

    def on_checkpoint(self, **info: Any) -> None:
        self.hooks.append("checkpoint")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self.hooks.append("end")


class SeesAlone(Sees):
    """The same in a thread of its own."""

    own_thread: ClassVar[bool] = True


def test_what_a_logger_adds_to_results_reaches_those_behind_it(trial: Trial) -> None:
    before, behind, alone_before, alone = Sees(), Sees(), SeesAlone(), SeesAlone()
    csv, json_logger = CSVLoggerCallback(), JsonLoggerCallback()
    threads = LoggerThreads([alone_before, before, Adds(), behind, csv, json_logger, alone])
    threads.setup()
    results = example_results(trial, 2)
    reported = [{k: v for k, v in result.items() if k != "config"} for result in results]
    lines = [json.dumps(result).encode() + b"\n" for result in reported]
    threads.submit([LogRecord(Notice.TRIAL_RESULT, trial, results, lines)])
    visited: list[LoggerCallback] = []
    is_done = threads.mark(visited.append)
    threads.post("on_checkpoint", iteration=1, trials=[], trial=trial, checkpoint=None)
    assert flush(threads)
    assert is_done()
    assert len(visited) == 7
    assert threads.close([trial])
    assert before.seen == alone_before.seen == [None, None]
    assert behind.seen == alone.seen == [10.0, 20.0]
    assert alone_before.hooks == alone.hooks == ["checkpoint", "end"]
    written = Path(trial.logdir, "result.json").read_text().splitlines()
    assert [json.loads(line)["added"] for line in written] == [10.0, 20.0]
    assert "added" in Path(trial.logdir, "progress.csv").read_text().splitlines()[0]
    assert all("added" not in result for result in results)  # schedulers have these
