"""Resuming from a directory: what is found there, what is refused, what the result files hold."""

from __future__ import annotations

import csv
import itertools
import logging
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

import prefect_tune as tune
from prefect_tune.config import TuneConfig
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import ResultReported, Resumed, Tick
from prefect_tune.coordinator.records import decode_event
from prefect_tune.error import ExperimentLocked, InvalidArgument, StorageError
from prefect_tune.experiment.trial import RUNNING, TERMINATED
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler
from prefect_tune.search import Searcher
from prefect_tune.stopper import TimeoutStopper, TrialPlateauStopper
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import JOURNAL_FORMAT, parse_header
from tests.engine.inline_executor import InlineExecutor, experiment, run

GRID = {name: tune.grid_search([0, 1, 2]) for name in "abc"}
ONE = TuneConfig(num_samples=1)


def records_of(path: Path) -> list[bytes]:
    journal = LocalJournal(path / JOURNAL_FILE)
    records = list(journal.read())
    assert journal.damage is None
    journal.close()
    return records


def kill_at(path: Path, index: int, unwritten: int = 0) -> None:
    """Make a directory look as if the process had been killed behind a record.

    Args:
        path: The experiment directory.
        index: How many records are left.
        unwritten: How many results of each trial had not got into the result files; below 0, how
            many more had got there than into the journal, as with copies from storage.
    """
    lines = (path / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
    (path / JOURNAL_FILE).write_bytes(b"".join(lines[:index]))
    (path / "search_latest.state").unlink(missing_ok=True)
    acknowledged = results_in(path)
    for file in [*path.glob("*/result.json"), *path.glob("*/progress.csv")]:
        trial_id = "_".join(file.parent.name.split("_")[1:3])
        rows = file.read_bytes().splitlines(keepends=True)
        kept = max(0, acknowledged[trial_id] - unwritten) + (file.name == "progress.csv")
        file.write_bytes(b"".join(rows[:kept]) + (b'{"torn' if unwritten > 0 else b""))


def results_in(path: Path) -> Counter[str]:
    """Number of acknowledged results by trial."""
    counts: Counter[str] = Counter()
    for record in records_of(path):
        if parse_header(record) is None:
            event = decode_event(record)
            if isinstance(event, ResultReported):
                counts[event.trial_id] += len(event.results)
    return counts


def finished_run(tmp_path: Path, **options: Any) -> Path:
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, **options)
    run(one)
    assert len(one.trials) == 27
    return tmp_path / "e"


@pytest.mark.parametrize("unwritten", [-99, -1, 0, 1, 2, 99])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_killed_grid_is_completed_and_every_result_is_in_the_files_once(
    tmp_path, share, unwritten
):
    path = finished_run(tmp_path)
    kill_at(path, int(len(records_of(path)) * share), unwritten)
    executor = InlineExecutor()
    one = experiment(tmp_path, executor, ONE, space=GRID, resume=True)
    done = {t.trial_id for t in one.trials if t.status == TERMINATED}
    run(one)
    assert done
    assert not done & {launch.trial_id for launch in executor.launched}
    assert [trial.status for trial in one.trials] == [TERMINATED] * 27
    assert len({tuple(trial.config.values()) for trial in one.trials}) == 27
    counts = results_in(path)
    for trial in one.trials:
        lines = Path(trial.logdir, "result.json").read_bytes().splitlines()
        text = Path(trial.logdir, "progress.csv").read_text()
        rows = list(csv.DictReader(text.splitlines()))
        assert len(lines) == len(rows) == counts[trial.trial_id] == trial.results_seen
        steps = [orjson.loads(line)["training_iteration"] for line in lines]
        assert steps == [int(row["training_iteration"]) for row in rows]
        # Steps go up, and begin anew where an attempt did.
        assert all(b in (a + 1, 1) for a, b in itertools.pairwise(steps))
        assert steps[-1] == 3


def test_a_resumed_trial_has_what_it_had(tmp_path):
    path = finished_run(tmp_path)
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True)
    one.close()
    before = one.trials
    assert len(before) == 27
    for trial in before:
        assert trial.last_result["loss"] == pytest.approx(1 / 3)
        assert trial.last_result["done"] is True
        assert trial.last_result["config"] == trial.config
        assert trial.metric_analysis["loss"]["max"] == 1.0
        assert Path(trial.logdir).parent == path


@pytest.mark.parametrize("verbose", [0, None])
def test_what_is_there_is_said(tmp_path, caplog, capsys, verbose):
    path = finished_run(tmp_path)
    kill_at(path, len(records_of(path)) // 2)
    caplog.set_level(logging.INFO)
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True, verbose=verbose)
    ended = sum(trial.is_finished() for trial in one.trials)
    running = sum(trial.status == RUNNING for trial in one.trials)
    one.close()
    assert ended
    assert running
    told = (
        f"Going on with {path}: {len(one.trials)} trials, of which {ended} have ended and "
        f"{running} were running when it was left."
    )
    assert (told in caplog.messages) is (verbose == 0)
    assert (told in capsys.readouterr().out) is (verbose is None)


def test_the_last_run_in_a_directory_is_resumed(tmp_path):
    path = finished_run(tmp_path)
    finished_run(tmp_path)
    kill_at(path, len(records_of(path)) - 40)
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume="LOCAL")
    run(one)
    assert len(one.trials) == 27


def test_two_resumes_in_a_row(tmp_path):
    path = finished_run(tmp_path)
    kill_at(path, 30)
    run(experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True))
    kill_at(path, len(records_of(path)) - 50)
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True)
    run(one)
    assert len({tuple(trial.config.values()) for trial in one.trials}) == len(one.trials) == 27
    headers = [h for h in map(parse_header, records_of(path)) if h is not None]
    assert len({h.experiment_id for h in headers}) == 3
    assert len({h.origin for h in headers}) == 1


def test_damage_in_the_middle_is_named_and_kept_aside(tmp_path, caplog):
    path = finished_run(tmp_path)
    journal = path / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[60] = lines[60].replace(b"{", b"[", 1)
    journal.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True)
    run(one)
    assert "line 61" in caplog.text
    assert "checksum" in caplog.text
    assert (path / f"{JOURNAL_FILE}.damaged-1").read_bytes() == b"".join(lines[60:])
    assert journal.read_bytes().startswith(b"".join(lines[:60]))
    assert len({tuple(trial.config.values()) for trial in one.trials}) == len(one.trials) == 27


@pytest.mark.parametrize("line", [0, 1, 40])
def test_one_flipped_byte_changes_nothing(tmp_path, line):
    path = finished_run(tmp_path)
    journal = path / JOURNAL_FILE
    before = journal.read_bytes()
    damaged = bytearray(before)
    damaged[sum(len(one) for one in before.splitlines(keepends=True)[:line]) + 20] ^= 1
    journal.write_bytes(damaged)
    one = experiment(tmp_path, executor := InlineExecutor(), ONE, space=GRID, resume=True)
    run(one)
    assert executor.launched == []
    assert len(one.trials) == 27
    assert journal.read_bytes().startswith(before)


@pytest.mark.parametrize("line", [0, 1, 40])
def test_a_lost_line_with_good_ones_behind_it_is_refused(tmp_path, line):
    path = finished_run(tmp_path)
    journal = path / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = b"lost\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=f"is damaged at line {line + 1} .*good records follow"):
        experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True)
    assert journal.read_bytes() == b"".join(lines)


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    path = finished_run(tmp_path)
    journal = LocalJournal(path / JOURNAL_FILE)
    journal.append([b'{"journal":%d,"prefect_tune":"99.0"}' % (JOURNAL_FORMAT + 1)])
    journal.close()
    before = (path / JOURNAL_FILE).read_bytes()
    with pytest.raises(StorageError, match=r"99\.0.*Update"):
        experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume=True)
    assert (path / JOURNAL_FILE).read_bytes() == before


def test_there_must_be_an_experiment(tmp_path):
    with pytest.raises(InvalidArgument, match=f"no experiment in {tmp_path}/e"):
        experiment(tmp_path, InlineExecutor(), resume=True)
    assert not (tmp_path / "e").exists()


def test_auto_begins_where_there_is_none(tmp_path):
    first = experiment(tmp_path, InlineExecutor(), resume="AUTO")
    run(first)
    second = experiment(tmp_path, executor := InlineExecutor(), resume="AUTO")
    run(second)
    assert [t.trial_id for t in second.trials] == [t.trial_id for t in first.trials]
    assert executor.launched == []


def another_trainable(config: dict[str, Any]) -> None: ...


def test_another_trainable_is_refused(tmp_path):
    finished_run(tmp_path)
    with pytest.raises(InvalidArgument, match="'trainable', not 'another_trainable'"):
        experiment(
            tmp_path, InlineExecutor(), ONE, space=GRID, function=another_trainable, resume=True
        )


class Fixed(Searcher):
    """Suggests 0, 1, 2, ...; with a lock, as searchers with a connection have, it has no state."""

    def __init__(self) -> None:
        super().__init__("loss", "min")
        self.count = 0
        self.lock = threading.Lock()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        self.count += 1
        return {"x": self.count}

    def on_trial_complete(self, trial_id: str, *args: Any, **kwargs: Any) -> None: ...


def test_another_search_is_refused(tmp_path):
    finished_run(tmp_path)
    with pytest.raises(InvalidArgument, match="searched by random and grid search, not Fixed"):
        experiment(tmp_path, InlineExecutor(), TuneConfig(search_alg=Fixed()), resume=True)


def test_a_search_that_cannot_be_saved_repeats_no_trial_either(tmp_path, caplog):
    config = TuneConfig(search_alg=Fixed(), num_samples=9)
    run(experiment(tmp_path, InlineExecutor(), config))
    assert "cannot be saved" in caplog.text
    kill_at(tmp_path / "e", 20)
    config = TuneConfig(search_alg=Fixed(), num_samples=9)
    one = experiment(tmp_path, InlineExecutor(), config, resume=True)
    run(one)
    assert [trial.config["x"] for trial in one.trials] == list(range(1, 10))


def test_other_code_and_another_scheduler_are_warned_about(tmp_path, caplog):
    finished_run(tmp_path)

    def other(config: dict[str, Any]) -> None:
        """Another text."""

    other.__name__ = other.__qualname__ = "trainable"
    config = TuneConfig(scheduler="asha", metric="loss", mode="min")
    one = experiment(tmp_path, InlineExecutor(), config, space=GRID, function=other, resume=True)
    one.close()
    assert "the source of trainable has changed" in caplog.text
    assert "the scheduler was FIFOScheduler, is AsyncHyperBandScheduler" in caplog.text


def test_one_writer_at_a_time(tmp_path):
    one = experiment(tmp_path, InlineExecutor(), ONE, space=GRID)
    with pytest.raises(ExperimentLocked, match="process"):
        experiment(tmp_path, InlineExecutor(), ONE, space=GRID, resume="AUTO")
    one.close()


def test_more_samples_extend_a_finished_experiment(tmp_path):
    run(experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=3)))
    one = experiment(tmp_path, executor := InlineExecutor(), TuneConfig(num_samples=5), resume=True)
    run(one)
    assert len({trial.trial_id for trial in one.trials}) == 5
    assert len(executor.launched) == 2


def test_down_time_does_not_count_against_a_time_budget():
    stopper = TimeoutStopper(100)
    coordinator = Coordinator(FIFOScheduler(), stopper)
    coordinator.replay(True)
    coordinator.handle(Tick(1000.0))
    coordinator.handle(Tick(1060.0))
    coordinator.replay(False)
    coordinator.handle(Resumed(9000.0))
    coordinator.handle(Tick(9039.0))
    assert not stopper.stop_all()
    coordinator.handle(Tick(9041.0))
    assert stopper.stop_all()


def test_the_same_scheduler_and_stopper_objects_do_not_learn_everything_twice(tmp_path):
    def parts() -> tuple[Any, Any]:
        return (
            ASHAScheduler(metric="loss", mode="min", max_t=3, reduction_factor=2),
            TrialPlateauStopper("loss", std=0.01, num_results=2),
        )

    def sweep(resume: bool, scheduler: Any, stopper: Any) -> None:
        config = TuneConfig(num_samples=9, scheduler=scheduler, seed=1)
        executor = InlineExecutor()
        run(
            experiment(
                tmp_path,
                executor,
                config,
                stop=[stopper, {"training_iteration": 99}],
                resume=resume,
            )
        )

    def known(scheduler: Any, stopper: Any) -> Any:
        return scheduler.debug_string(), stopper.get_state()

    used = parts()
    sweep(False, *used)
    before = known(*used)
    sweep(True, *used)
    sweep(True, *used)
    assert known(*used) == before
    fresh = parts()
    sweep(True, *fresh)
    assert known(*fresh) == before


@pytest.mark.parametrize("mode", ["ERRORED_ONLY", "LOCAL+ERRORED", "LOCAL+RESTART_ERRORED"])
def test_failed_trials_keep_to_the_limit_when_they_run_again(tmp_path, mode):
    one_at_a_time = TuneConfig(num_samples=4, max_concurrent_trials=1)
    executor = InlineExecutor()
    executor.failing = True
    run(experiment(tmp_path, executor, one_at_a_time))
    executor = InlineExecutor()
    again = experiment(tmp_path, executor, one_at_a_time, resume=mode)
    executor.before_launch = lambda launch: running.append(
        sum(trial.status == RUNNING for trial in again.trials)
    )
    running: list[int] = []
    run(again)
    assert running == [1] * 4
    assert [trial.status for trial in again.trials] == [TERMINATED] * 4
