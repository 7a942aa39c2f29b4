"""Resuming from a snapshot and the tail of the journal, and without one if anything is wrong."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.config import FailureConfig, TuneConfig
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import Control, ControlReceived, ResultReported
from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.resume import snapshot
from prefect_tune.engine.resume import snapshot_writer as snapshots
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler
from prefect_tune.stopper import TrialPlateauStopper
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE, TRIALS_FILE
from tests.engine.inline_executor import InlineExecutor, experiment, run

SPACE = {"x": tune.uniform(0, 1)}


def sweep(path: Path, samples: int = 8, resume: Any = None, **options: Any) -> RunningExperiment:
    scheduler = ASHAScheduler(metric="loss", mode="min", max_t=9, reduction_factor=2)
    config = TuneConfig(num_samples=samples, seed=1, scheduler=options.pop("scheduler", scheduler))
    return experiment(path, InlineExecutor(), config, space=SPACE, resume=resume, **options)


def finished(path: Path, **options: Any) -> Path:
    run(sweep(path, **options))
    return path / "e"


@pytest.fixture
def replayed(monkeypatch) -> list[type]:
    """The types of events that coordinators handle while they replay."""
    seen: list[type] = []
    handle = Coordinator.handle

    def spy(self: Coordinator, event: Any) -> Any:
        if self.replaying:
            seen.append(type(event))
        return handle(self, event)

    monkeypatch.setattr(Coordinator, "handle", spy)
    return seen


def facts(one: RunningExperiment) -> Any:
    trials = [
        (t.trial_id, t.status, t.config, t.last_result, t.metric_analysis, t.results_seen, t.logdir)
        for t in one.trials
    ]
    return trials, one.setup.scheduler.debug_string()


def test_trials_in_it_tell_of_the_arguments_of_the_resume(tmp_path):
    finished(tmp_path)
    again = sweep(tmp_path, resume=True, failure_config=FailureConfig(max_failures=7))
    assert {trial.max_failures for trial in again.trials} == {7}
    again.close()


def test_only_what_is_behind_it_is_replayed(tmp_path, replayed):
    finished(tmp_path)
    with_it = sweep(tmp_path, resume=True)
    assert ResultReported not in replayed
    known = facts(with_it)
    with_it.close()
    (tmp_path / "e" / SNAPSHOT_FILE).unlink()
    without = sweep(tmp_path, resume=True)
    assert replayed.count(ResultReported) >= 8
    assert facts(without) == known
    without.close()


def test_an_interrupted_run_leaves_one(tmp_path, replayed):
    executor = InlineExecutor()

    def interrupt(launch: Any) -> None:
        if len(executor.launched) == 5:
            one.inbox.put(ControlReceived(9.0, Control.INTERRUPT, reason="SIGTERM received"))

    executor.before_launch = interrupt
    config = TuneConfig(num_samples=-1, seed=1)
    one = experiment(tmp_path, executor, config, space=SPACE)
    run(one)
    assert any(not trial.is_finished() for trial in one.trials)
    resumed = experiment(tmp_path, InlineExecutor(), config, space=SPACE, resume=True)
    assert ResultReported not in replayed
    assert facts(resumed) == facts(one)
    resumed.close()


def test_an_interruption_is_followed_by_one_at_once(tmp_path, monkeypatch):
    """Whoever sent the signal may send SIGKILL before everything is closed."""
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1000")
    found: list[bool] = []

    class Slow(InlineExecutor):
        def kill(self, kills: Any) -> None:
            threading.Thread(target=self._end, args=(kills,)).start()

        def _end(self, kills: Any) -> None:
            end = time.monotonic() + 20
            while not (tmp_path / "e" / SNAPSHOT_FILE).exists() and time.monotonic() < end:
                time.sleep(0.02)
            found.append((tmp_path / "e" / SNAPSHOT_FILE).exists())
            super().kill(kills)

    executor = Slow(reports=10**6)

    def interrupt(launch: Any) -> None:
        if executor.launched:
            one.inbox.put(ControlReceived(9.0, Control.INTERRUPT, reason="SIGTERM received"))

    executor.before_launch = interrupt
    one = experiment(
        tmp_path,
        executor,
        TuneConfig(num_samples=2),
        space=SPACE,
        stop=lambda trial_id, result: False,
    )
    run(one)
    assert found == [True]


def test_a_moved_directory(tmp_path):
    finished(tmp_path)
    (tmp_path / "there").mkdir()
    shutil.move(tmp_path / "e", tmp_path / "there" / "e")
    one = sweep(tmp_path / "there", resume=True)
    assert {Path(trial.logdir).parent for trial in one.trials} == {tmp_path / "there" / "e"}
    one.close()


def test_it_grows_over_several_openings(tmp_path, replayed):
    finished(tmp_path)
    size = (tmp_path / "e" / TRIALS_FILE).stat().st_size
    for samples in (9, 10, 11):
        run(sweep(tmp_path, samples, resume=True))
    assert ResultReported not in replayed
    # Only the new trials were added.
    assert (tmp_path / "e" / TRIALS_FILE).stat().st_size < 2 * size
    one = sweep(tmp_path, 11, resume=True)
    assert len({trial.trial_id for trial in one.trials}) == 11
    one.close()


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF
    path.write_bytes(data)


def cut_journal(directory: Path) -> None:
    journal = directory / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: damaged(d / SNAPSHOT_FILE), "it is damaged"),
        (lambda d: damaged(d / TRIALS_FILE), f"{TRIALS_FILE} is damaged"),
        (lambda d: (d / TRIALS_FILE).unlink(), "it cannot be read"),
        (lambda d: (d / "search_latest.state").unlink(), "the state of the search .* is missing"),
    ],
)
def test_whatever_is_wrong_with_it_the_journal_will_do(tmp_path, caplog, replayed, spoil, reason):
    directory = finished(tmp_path)
    expected = sweep(tmp_path, resume=True)
    expected.close()
    spoil(directory)
    one = sweep(tmp_path, resume=True)
    one.close()
    assert facts(one) == facts(expected)
    assert f"The snapshot in {directory} is not used:" in caplog.text
    assert ResultReported in replayed
    import re

    assert re.search(reason, caplog.text)
    # And from then on there is a good one.
    run(sweep(tmp_path, resume=True))
    caplog.clear()
    sweep(tmp_path, resume=True).close()
    assert "not used" not in caplog.text


def test_a_journal_that_has_lost_what_it_was_taken_behind(tmp_path, caplog):
    directory = finished(tmp_path)
    cut_journal(directory)
    one = sweep(tmp_path, resume=True)
    run(one)
    assert "the journal has lost records that it includes" in caplog.text
    assert len({trial.config["x"] for trial in one.trials}) == 8


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("__version__", "0.0.1", "prefect_tune"), ("PYTHON", "2.7", "Python")],
)
def test_one_of_another_version(tmp_path, caplog, monkeypatch, name, value, reason):
    finished(tmp_path)
    monkeypatch.setattr(snapshot, name, value)
    sweep(tmp_path, resume=True).close()
    assert f"it was written by {reason}" in caplog.text


def test_a_scheduler_with_other_arguments_is_not_overwritten(tmp_path, caplog, replayed):
    finished(tmp_path)
    other = ASHAScheduler(metric="loss", mode="min", max_t=5, reduction_factor=3)
    one = sweep(tmp_path, resume=True, scheduler=other)
    one.close()
    assert "the scheduler is not the same as it was" in caplog.text
    assert ResultReported in replayed
    assert one.setup.scheduler._max_t == 5  # type: ignore[attr-defined]


def test_other_thresholds_do_not_matter_and_other_stoppers_do(tmp_path, caplog):
    finished(tmp_path, stop={"training_iteration": 2})
    sweep(tmp_path, resume=True, stop={"training_iteration": 3}).close()
    assert "not used" not in caplog.text
    sweep(tmp_path, resume=True, stop=TrialPlateauStopper("loss")).close()
    assert "the stopping criteria are of other kinds than they were" in caplog.text


class WithLock(FIFOScheduler):
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_a_scheduler_that_cannot_be_pickled(tmp_path, caplog, replayed):
    with caplog.at_level("INFO"):
        directory = finished(tmp_path, scheduler=WithLock())
    assert (
        "There will be no snapshots: the state of the experiment cannot be pickled" in caplog.text
    )
    assert not (directory / SNAPSHOT_FILE).exists()
    one = sweep(tmp_path, 9, resume=True, scheduler=WithLock())
    run(one)
    assert len(one.trials) == 9
    assert ResultReported in replayed


class HoldsTrials(FIFOScheduler):
    """Refers to trials and to the controller, as schedulers written for Ray do."""

    def __init__(self) -> None:
        self.known: dict[Trial, int] = {}
        self.controller: Any = None

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        self.controller = controller
        self.known[trial] = 0

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.known[trial] += 1
        return self.CONTINUE


def test_a_scheduler_that_refers_to_trials_refers_to_the_same_afterwards(tmp_path, replayed):
    finished(tmp_path, scheduler=HoldsTrials())
    one = sweep(tmp_path, resume=True, scheduler=(scheduler := HoldsTrials()))
    one.close()
    assert ResultReported not in replayed
    assert {id(trial) for trial in scheduler.known} == {id(trial) for trial in one.trials}
    assert set(scheduler.known.values()) == {3}
    assert scheduler.controller is one.coordinator


class Explodes(FIFOScheduler):
    """Cannot take a state over."""

    explodes = False

    def __init__(self) -> None:
        self.count = 0

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        self.count += 1
        return self.CONTINUE

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        if Explodes.explodes and state["count"]:
            raise RuntimeError("no")


def test_a_scheduler_that_fails_on_the_way_is_taken_back(tmp_path, caplog, monkeypatch):
    finished(tmp_path, scheduler=Explodes())
    monkeypatch.setattr(Explodes, "explodes", True)
    one = sweep(tmp_path, resume=True, scheduler=(scheduler := Explodes()))
    one.close()
    assert "is not used: RuntimeError: no" in caplog.text
    assert scheduler.count == 24  # once, not twice


def test_many_finished_trials_are_not_written_in_one_go(tmp_path, monkeypatch):
    """After a full replay a running sweep is not held up."""
    directory = finished(tmp_path, samples=30)
    (directory / SNAPSHOT_FILE).unlink()
    monkeypatch.setattr(snapshots, "_AT_ONCE", 7)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
    sizes: list[int] = []
    dump = snapshots.dump_state

    def spy(state: Any, *arguments: Any) -> bytes:
        if isinstance(state, list):
            sizes.append(len(state))
        return dump(state, *arguments)

    def close(self: Any) -> None:
        # Its end writes whatever is left in one go; how much that is, is a matter of speed.
        for _ in range(20):
            self.take_or_write()
        at_the_end.extend(sizes)
        shut(self)

    at_the_end: list[int] = []
    shut = snapshots.Snapshots.close
    monkeypatch.setattr(snapshots, "dump_state", spy)
    monkeypatch.setattr(snapshots.Snapshots, "close", close)
    run(sweep(tmp_path, 40, resume=True))
    assert sum(at_the_end) == 40
    assert max(at_the_end) <= 7
    assert sizes == at_the_end


def test_the_period_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
    taken: list[float] = []
    take = snapshots.Snapshots._pickle_state

    def spy(self: Any) -> Any:
        taken.append(1)
        return take(self)

    monkeypatch.setattr(snapshots.Snapshots, "_pickle_state", spy)
    run(sweep(tmp_path / "often"))
    often = len(taken)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1000")
    run(sweep(tmp_path / "once"))
    assert often > 1
    assert len(taken) == often + 1  # at the end
