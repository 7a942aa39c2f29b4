"""The audit sees each kind of loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import JournalHeader

from .audit import Evidence, Findings, audit
from .evidence import Key, Told, read_journal
from .scenario import FIFO, FUNCTION, INSIDE, LOCAL, Kind, Limits, Scenario, Strike, draw
from .shelf import LocalShelf
from .trainables import write_state

STEPS = 3


class Sweep:
    """A sweep of one trial as it should be left behind; tests damage it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scenario = Scenario(
            seed=1,
            trainable=FUNCTION,
            scheduler=FIFO,
            storage=LOCAL,
            cluster=INSIDE,
            prefect=False,
            optuna=False,
            trials=1,
            steps=STEPS,
            step_s=0.0,
            every=1,
            keep=None,
            scored=False,
            strikes=(),
        )
        self.events: list[dict[str, Any]] = [
            {"event": "TrialSuggested", "trial_id": "a"},
            {"event": "AttemptLaunched", "trial_id": "a", "attempt": 1},
        ]
        self.lines: list[dict[str, Any]] = []
        self.diary = [
            {"trial_id": "a", "token": "t1", "pid": 1}
            | {"restored": None, "source": None, "wrong": ""}
        ]
        self.acknowledged: set[Key] = set()
        self.completed = {"a"}
        self.results = {"a": [3, 3]}
        self.report("t1", 1, 1, 1)
        self.save(1)
        self.report("t1", 1, 2, 2)
        self.save(2)
        self.events.append(
            {"event": "AttemptEnded", "trial_id": "a", "attempt": 1, "outcome": "failed"}
        )
        self.events.append({"event": "AttemptLaunched", "trial_id": "a", "attempt": 2})
        self.diary.append(
            {"trial_id": "a", "token": "t2", "pid": 2} | {"restored": 2, "source": "a", "wrong": ""}
        )
        self.report("t2", 2, 1, 3)
        self.save(3)
        self.events.append(
            {
                "event": "AttemptEnded",
                "trial_id": "a",
                "attempt": 2,
                "outcome": "finished",
                "fate": "terminated",
            }
        )

    def report(self, token: str, attempt: int, n: int, iteration: int) -> None:
        result = {
            "trial_id": "a",
            "token": token,
            "n": n,
            "iteration": iteration,
            "training_iteration": iteration,
            "score": float(iteration),
        }
        self.events.append(
            {
                "event": "ResultReported",
                "trial_id": "a",
                "attempt": attempt,
                "first_seq": n,
                "results": [result],
            }
        )
        self.lines.append(result)
        self.acknowledged.add(Key("a", token, n))

    def save(self, iteration: int) -> None:
        path = f"trial_a/checkpoint_{iteration:06d}"
        write_state(self.directory / path, "a", iteration)
        write_manifest(self.directory / path)
        self.events.append(
            {
                "event": "CheckpointSaved",
                "trial_id": "a",
                "attempt": 1,
                "path": path,
                "metrics": {"iteration": iteration, "score": float(iteration)},
            }
        )

    def audit(self) -> Findings:
        trial_dir = self.directory / "trial_a"
        lines = "".join(json.dumps(line) + "\n" for line in self.lines)
        (trial_dir / "result.json").write_text(lines)
        (trial_dir / "progress.csv").write_text("header\n" + "row\n" * len(self.lines))
        return audit(
            Evidence(
                self.scenario,
                Told(1, self.events),
                self.acknowledged,
                self.completed,
                self.directory,
                self.diary,
                LocalShelf(self.directory),
                results=self.results,
            )
        )

    def drop(self, kind: str, last: bool = True) -> None:
        found = [event for event in self.events if event["event"] == kind]
        self.events.remove(found[-1] if last else found[0])


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "trial_a").mkdir()
    return Sweep(tmp_path)


def test_nothing_is_wrong_with_a_good_one(sweep):
    findings = sweep.audit()
    assert findings.faults == []
    assert findings.acknowledged == STEPS
    assert (findings.saved, findings.restored) == (3, 1)


def test_a_result_that_the_journal_has_lost(sweep):
    sweep.drop("ResultReported")
    assert len(sweep.audit().lost) == 1


def test_a_result_that_the_result_file_has_lost(sweep):
    sweep.lines.pop()
    assert len(sweep.audit().lost) == 1


def test_a_gap_in_what_nobody_was_shown(sweep):
    sweep.drop("ResultReported", last=False)
    sweep.acknowledged.clear()
    sweep.lines.pop(0)
    assert sweep.audit().lost == ["reports of attempt 1 of trial a: 1 of 2"]


def test_a_result_twice_in_the_journal(sweep):
    event = next(e for e in sweep.events if e["event"] == "ResultReported")
    sweep.events.insert(sweep.events.index(event), event)
    assert len(sweep.audit().duplicated) == 2  # the result, and its number


def test_a_result_twice_in_the_result_file(sweep):
    sweep.lines.append(sweep.lines[0])
    assert len(sweep.audit().duplicated) == 1


def test_a_row_too_many_or_too_few_in_the_table(sweep):
    sweep.audit()
    findings = Findings()
    from .audit import _check_files

    table = sweep.directory / "trial_a" / "progress.csv"
    table.write_text("header\n" + "row\n" * (STEPS + 1))
    _check_files(sweep.directory, set(), findings)
    assert len(findings.duplicated) == 1


def test_a_finished_trial_that_runs_again(sweep):
    sweep.events.append({"event": "AttemptLaunched", "trial_id": "a", "attempt": 3})
    assert sweep.audit().repeated == ["trial a, attempt 3"]


def test_a_trial_whose_last_result_ended_it_is_finished(sweep):
    del sweep.events[-1]
    next(e for e in reversed(sweep.events) if e["event"] == "ResultReported")["stop"] = True
    assert sweep.audit().faults == []
    sweep.events.append({"event": "AttemptLaunched", "trial_id": "a", "attempt": 3})
    assert sweep.audit().repeated == ["trial a, attempt 3"]


def test_a_trial_that_was_shown_as_complete_and_is_forgotten(sweep):
    del sweep.events[-1]["fate"]
    assert len(sweep.audit().repeated) == 1


def test_a_process_that_no_attempt_accounts_for(sweep):
    sweep.diary.append({**sweep.diary[0], "token": "t3"})
    assert len(sweep.audit().repeated) == 1


@pytest.mark.parametrize("damage", ["gone", "no marker", "cut", "foreign"])
def test_a_checkpoint_that_is_not_what_it_should_be(sweep, damage):
    directory = sweep.directory / "trial_a" / "checkpoint_000002"
    data = directory / "deep" / "payload.bin"
    if damage == "gone":
        for path in (directory / ".is_checkpoint", directory / "state.json", data):
            path.unlink()
        data.parent.rmdir()
        directory.rmdir()
    elif damage == "no marker":
        (directory / ".is_checkpoint").unlink()
    elif damage == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    else:
        data.write_bytes(b"x" * data.stat().st_size)
    assert len(sweep.audit().checkpoints) == 1


def test_what_retention_may_delete_and_what_not(sweep):
    import shutil

    sweep.scenario = Scenario(**{**vars(sweep.scenario), "keep": 1})
    assert sweep.audit().leftovers == ["trial_a/checkpoint_000001", "trial_a/checkpoint_000002"]
    shutil.rmtree(sweep.directory / "trial_a" / "checkpoint_000001")
    assert sweep.audit().faults == []
    shutil.rmtree(sweep.directory / "trial_a" / "checkpoint_000003")
    assert len(sweep.audit().checkpoints) == 1


def test_the_best_by_score_and_the_newest_have_to_stay(sweep):
    import shutil

    sweep.scenario = Scenario(**{**vars(sweep.scenario), "keep": 1, "scored": True})
    for event in sweep.events:
        if event["event"] == "CheckpointSaved":
            event["metrics"]["score"] = -event["metrics"]["iteration"]
    sweep.results = {"a": [3, 1]}
    shutil.rmtree(sweep.directory / "trial_a" / "checkpoint_000002")
    assert sweep.audit().faults == []
    shutil.rmtree(sweep.directory / "trial_a" / "checkpoint_000001")
    assert len(sweep.audit().checkpoints) == 1


@pytest.mark.parametrize("restored", [1, None])
def test_an_attempt_that_does_not_go_on_from_the_newest(sweep, restored):
    sweep.diary[1]["restored"] = restored
    assert len(sweep.audit().checkpoints) == 1


@pytest.mark.parametrize(
    ("exit_codes", "faults"), [([-9], 1), ([-9, -9], 0), ([1], 0), ([None], 0), ([], 1)]
)
def test_a_suspect_may_be_passed_over(sweep, exit_codes, faults):
    failures = []
    for number, code in enumerate(exit_codes, 9):
        attempt = {"trial_id": "a", "attempt": number}
        failures.append({"event": "AttemptLaunched", **attempt})
        error = {"kind": "signal", "exit_code": code}
        failures.append({"event": "AttemptEnded", **attempt, "outcome": "failed", "error": error})
    at = next(i for i, e in enumerate(sweep.events) if e.get("attempt") == 2)
    sweep.events[at:at] = failures
    sweep.diary[1]["restored"] = 1
    assert len(sweep.audit().checkpoints) == faults


def test_what_was_dropped_need_not_be_gone_on_from(sweep):
    at = next(i for i, e in enumerate(sweep.events) if e.get("attempt") == 2)
    paths = [e["path"] for e in sweep.events[:at] if e["event"] == "CheckpointSaved"]
    dropped = {"event": "CheckpointsDropped", "trial_id": "a", "paths": paths[-1:]}
    sweep.events[at:at] = [dropped]
    sweep.diary[1]["restored"] = 1
    assert not [fault for fault in sweep.audit().faults if "went on from" in fault]


@pytest.mark.parametrize(
    ("restored", "source", "faults"), [(1, "b", 0), (2, "a", 1), (None, None, 1), (0, "b", 1)]
)
def test_a_copy_goes_on_from_what_it_is_a_copy_of(sweep, restored, source, faults):
    at = next(i for i, e in enumerate(sweep.events) if e.get("attempt") == 2)
    checkpoint = {"path": "trial_b/checkpoint_000001", "progress": {"iteration": 1}}
    copied = {"event": "TrialRedirected", "trial_id": "a", "source_id": "b"}
    sweep.events[at:at] = [copied | {"checkpoint": checkpoint}]
    sweep.diary[1] |= {"restored": restored, "source": source}
    assert len(sweep.audit().checkpoints) == faults


def test_a_copy_with_a_checkpoint_of_its_own_goes_on_from_that(sweep):
    at = next(i for i, e in enumerate(sweep.events) if e.get("attempt") == 1)
    checkpoint = {"path": "trial_b/checkpoint_000001", "progress": {"iteration": 1}}
    copied = {"event": "TrialRedirected", "trial_id": "a", "source_id": "b"}
    sweep.events[at:at] = [copied | {"checkpoint": checkpoint}]
    sweep.diary[0] |= {"restored": 1, "source": "b"}
    assert sweep.audit().checkpoints == []
    sweep.diary[1] |= {"restored": 1, "source": "b"}
    assert len(sweep.audit().checkpoints) == 1


@pytest.mark.parametrize("seen", [[2, 3], [3, 2], [None, 3], [3, "it is not readable"]])
def test_results_that_lead_to_another_checkpoint(sweep, seen):
    sweep.results = {"a": seen}
    assert len(sweep.audit().checkpoints) == 1


def test_a_restore_that_a_trial_found_to_be_wrong(sweep):
    sweep.diary[1]["wrong"] = "it is of trial b"
    assert len(sweep.audit().checkpoints) == 1


def test_a_second_beginning_a_missing_trial_and_a_wrong_count(sweep):
    sweep.lines[-1]["training_iteration"] = 1
    sweep.scenario = Scenario(**{**vars(sweep.scenario), "trials": 2})
    assert len(sweep.audit().other) == 2


def test_a_journal_is_read_as_far_as_it_is_good(tmp_path):
    journal = LocalJournal(tmp_path / JOURNAL_FILE)
    journal.append([JournalHeader("a", "a", "sweep", 0.0).encode(), b'{"event":"Tick","time":1}'])
    journal.append([JournalHeader("b", "a", "sweep", 0.0).encode()])
    journal.close()
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(b"half a li")
    told = read_journal(tmp_path)
    assert (told.beginnings, told.events, bool(told.damage)) == (
        1,
        [{"event": "Tick", "time": 1}],
        True,
    )


def test_a_seed_always_draws_the_same_and_everything_is_drawn():
    runs = [draw(seed, Limits()) for seed in range(300)]
    assert runs == [draw(seed, Limits()) for seed in range(300)]
    assert {strike.kind for run in runs for strike in run.strikes} == set(Kind)
    assert all(Scenario.decode(run.encode()) == run for run in runs)
    assert all(isinstance(strike, Strike) for run in runs for strike in run.strikes)
