"""Compares what a run has left behind with what it promised."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .evidence import Key, Told, ends_trial, key_of, read_lines
from .scenario import ENDING, Scenario
from .shelf import Shelf


@dataclass
class Findings:
    """What an audit has found.

    Attributes:
        acknowledged: How many results the run had acknowledged.
        lost: Results that were acknowledged or shown and are not there any more.
        duplicated: Results that are there more than once.
        repeated: Finished trials that ran again.
        checkpoints: Checkpoints that should be there and are not, or are not what they should be.
        other: Everything else that is wrong.
        leftovers: Checkpoints that retention has not deleted.
        strays: Complete checkpoints of which the journal does not know.
        saved: How many checkpoints the journal has.
        restored: How many attempts went on from one.
    """

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    saved: int = 0
    restored: int = 0

    def add(self, other: Findings, name: str) -> None:
        """Take over what was found at another place."""
        for field_name in ("lost", "duplicated", "repeated", "checkpoints", "other"):
            own: list[str] = getattr(self, field_name)
            own += [name + text for text in getattr(other, field_name)]

    @property
    def faults(self) -> list[str]:
        """All that is wrong, a line each."""
        named = {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "finished trial repeated": self.repeated,
            "checkpoint lost": self.checkpoints,
            "wrong": self.other,
        }
        return [f"{name}: {text}" for name, texts in named.items() for text in texts]


@dataclass(frozen=True)
class Evidence:
    """What is looked at.

    Attributes:
        scenario: What was run.
        told: The journal at the end.
        acknowledged: Results that were in the journal when something was killed, or had been shown.
        completed: Trials that had been shown as complete.
        experiment_dir: The experiment directory at the end.
        diary: What the trial processes noted at their beginnings.
        shelf: The checkpoints in storage.
        forgetful: A machine was lost, with attempts that nobody else knew of.
        results: What the checkpoints hold that the results lead to, see `sweep.look`; empty if the
            sweep has not come to its end.
    """

    scenario: Scenario
    told: Told
    acknowledged: Collection[Key]
    completed: Collection[str]
    experiment_dir: Path
    diary: Sequence[dict[str, Any]]
    shelf: Shelf
    forgetful: bool = False
    results: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A checkpoint that the journal has."""

    path: str
    iteration: int
    score: float


def audit(evidence: Evidence) -> Findings:
    """Look at everything."""
    findings = Findings()
    journaled = evidence.told.keys()
    known = set(journaled)
    findings.acknowledged = len(known | set(evidence.acknowledged))
    missing = sorted(set(evidence.acknowledged) - known)
    findings.lost += [f"{_name(key)} is not in the journal" for key in missing]
    findings.duplicated += [f"{text} in the journal" for text in _twice(map(_name, journaled))]
    findings.duplicated += _numbered_twice(evidence.told)
    findings.lost += _gaps(evidence.told)
    _check_files(evidence.experiment_dir, known, findings)
    findings.repeated += _repeated(evidence)
    _check_checkpoints(evidence, findings)
    findings.other += _other(evidence)
    return findings


def _name(key: Key) -> str:
    return f"result {key.n} of process {key.token} of trial {key.trial_id}"


def _twice(items: Iterable[str]) -> list[str]:
    return [item for item, times in Counter(items).items() if times > 1]


def _numbered_twice(told: Told) -> list[str]:
    numbered = (
        f"report {seq} of attempt {event['attempt']} of trial {event['trial_id']} in the journal"
        for event, seq, _ in told.results()
    )
    return _twice(numbered)


def _gaps(told: Told) -> list[str]:
    seqs = defaultdict(set)
    for event, seq, _ in told.results():
        seqs[event["trial_id"], event["attempt"]].add(seq)
    return [
        f"reports of attempt {attempt} of trial {trial_id}: {len(found)} of {max(found)}"
        for (trial_id, attempt), found in seqs.items()
        if len(found) != max(found)
    ]


def _check_files(experiment_dir: Path, known: set[Key], findings: Findings) -> None:
    """Each acknowledged result is in its trial's result files once, and nothing else is."""
    shown: list[Key] = []
    for path in sorted(experiment_dir.glob("*/result.json")):
        lines = read_lines(path)
        shown += [key_of(line["trial_id"], line) for line in lines]
        table = path.parent / "progress.csv"
        rows = len(table.read_text().splitlines()) - 1 if table.exists() else 0
        if rows != len(lines):
            where = findings.lost if rows < len(lines) else findings.duplicated
            where.append(f"{rows} rows in progress.csv of {path.parent.name} for {len(lines)}")
    findings.duplicated += [f"{text} in result.json" for text in _twice(map(_name, shown))]
    findings.lost += [f"{_name(key)} is not in result.json" for key in sorted(known - set(shown))]
    never = sorted(set(shown) - known)
    findings.other += [f"{_name(key)} is in result.json, not in the journal" for key in never]


def _repeated(evidence: Evidence) -> Iterator[str]:
    finished: set[str] = set()
    launched: Counter[str] = Counter()
    for event in evidence.told.events:
        trial_id = event.get("trial_id", "")
        if event["event"] == "AttemptLaunched":
            launched[trial_id] += 1
            if trial_id in finished:
                yield f"trial {trial_id}, attempt {event['attempt']}"
        elif ends_trial(event):
            finished.add(trial_id)
        elif event.get("fate") in ("retried", "requeued", "interrupted"):
            # Its last checkpoint is not in storage: it runs again for that.
            finished.discard(trial_id)
    for trial_id in sorted(set(evidence.completed) - finished):
        yield f"trial {trial_id} was shown as complete and is not"
    started = Counter(entry["trial_id"] for entry in evidence.diary)
    for trial_id, times in started.items():
        if times > launched[trial_id] and not evidence.forgetful:
            yield f"trial {trial_id} has {times} processes, {launched[trial_id]} attempts"


def _check_checkpoints(evidence: Evidence, findings: Findings) -> None:
    saved = saved_checkpoints(evidence.told)
    kept: set[str] = set()
    for trial_id, checkpoints in saved.items():
        for checkpoint in must_exist(checkpoints, evidence.scenario):
            kept.add(checkpoint.path)
            wrong = evidence.shelf.fault(checkpoint.path, trial_id, checkpoint.iteration)
            if wrong:
                findings.checkpoints.append(f"{checkpoint.path}: {wrong}")
    findings.saved = sum(map(len, saved.values()))
    findings.restored = sum(entry["restored"] is not None for entry in evidence.diary)
    known = {checkpoint.path for checkpoints in saved.values() for checkpoint in checkpoints}
    there = evidence.shelf.complete()
    findings.leftovers = sorted(there & known - kept)
    findings.strays = sorted(there - known)
    findings.checkpoints += _restores(evidence)
    findings.checkpoints += _results(evidence, saved)


def saved_checkpoints(told: Told) -> dict[str, list[Saved]]:
    """The checkpoints in a journal by trial, oldest first."""
    saved: dict[str, dict[str, Saved]] = defaultdict(dict)
    for event in told.events:
        if event["event"] == "CheckpointSaved":
            path, metrics = event["path"], event["metrics"]
            saved[event["trial_id"]].pop(path, None)
            saved[event["trial_id"]][path] = Saved(path, metrics["iteration"], metrics["score"])
    return {trial_id: list(by_path.values()) for trial_id, by_path in saved.items()}


def must_exist(checkpoints: Sequence[Saved], scenario: Scenario) -> list[Saved]:
    """Those that retention keeps, whichever it prefers of equal ones."""
    if scenario.keep is None:
        return list(checkpoints)
    newest = checkpoints[-1]
    if not scenario.scored:
        return list(checkpoints[-scenario.keep :])
    return [
        one
        for one in checkpoints
        if one is newest or sum(other.score >= one.score for other in checkpoints) <= scenario.keep
    ]


def _results(evidence: Evidence, saved: Mapping[str, Sequence[Saved]]) -> Iterator[str]:
    """The results lead to the newest checkpoint and to the best one."""
    for trial_id, (newest, best) in evidence.results.items():
        checkpoints = saved.get(trial_id)
        if not checkpoints:
            wanted = None, None
        else:
            least = max(one.score for one in must_exist(checkpoints, evidence.scenario))
            # Others may be there, too, as long as somebody refers to them.
            good = [one.iteration for one in checkpoints if one.score >= least]
            wanted = checkpoints[-1].iteration, best if best in good else good[0]
        if newest != wanted[0]:
            yield f"the results of trial {trial_id} lead to {newest!r} as newest, not {wanted[0]}"
        if best != wanted[1]:
            yield f"the results of trial {trial_id} lead to {best!r} as best, not {wanted[1]}"


def _restores(evidence: Evidence) -> Iterator[str]:
    """Each attempt has got back what it had to get back."""
    noted = {entry["token"]: entry for entry in evidence.diary}
    for entry in evidence.diary:
        if entry["wrong"]:
            yield f"trial {entry['trial_id']} got back something wrong: {entry['wrong']}"
    if not evidence.scenario.checkpoints:
        return
    tokens = {
        (event["trial_id"], event["attempt"]): result["token"]
        for event, _, result in evidence.told.results()
    }
    ways: dict[str, _WayBack] = defaultdict(_WayBack)
    for event in evidence.told.events:
        trial_id = event.get("trial_id", "")
        way = ways[trial_id]
        attempt = trial_id, event.get("attempt")
        if event["event"] == "CheckpointSaved":
            way.saved[event["path"]] = event["metrics"]["iteration"]
            way.copied = None
        elif event["event"] == "TrialRedirected" and event["checkpoint"] is not None:
            way.copies = event["source_id"], event["checkpoint"]
        elif event["event"] == "CheckpointsDropped":
            for path in event["paths"]:
                way.saved.pop(path, None)
        elif event["event"] == "AttemptEnded":
            if event["outcome"] == "failed" and attempt not in tokens:
                way.fail((event.get("error") or {}).get("exit_code") == -signal.SIGKILL)
        elif event["event"] == "AttemptLaunched":
            way.launch()
            entry = noted.get(tokens.get(attempt, ""))
            if entry is None:
                continue
            wanted, restored, source = way.iteration, entry["restored"] or 0, entry["source"]
            owner = trial_id if way.copied is None else way.copied[0]
            if restored < wanted or source not in (None, owner):
                yield (
                    f"attempt {attempt[1]} of trial {trial_id} went on from {restored} of trial "
                    f"{source} though {wanted} of trial {owner} was saved"
                )


@dataclass
class _WayBack:
    """What one trial can go on from.

    Attributes:
        saved: Iterations by path, in order.
        spared: Paths of those whose attempt was killed before its first result: tried once more.
        suspects: Paths of those that are passed over after that, or after another failure.
        copies: The trial and the checkpoint that its next attempt is to go on from as a copy.
        copied: The same of the newest attempt, until it has saved a checkpoint of its own.
    """

    saved: dict[str, int] = field(default_factory=dict)
    spared: set[str] = field(default_factory=set)
    suspects: set[str] = field(default_factory=set)
    copies: tuple[str, dict[str, Any]] | None = None
    copied: tuple[str, dict[str, Any]] | None = None

    def launch(self) -> None:
        """The next attempt starts."""
        self.copied, self.copies = self.copies or self.copied, None

    @property
    def iteration(self) -> int:
        """How far the trial is in the one that an attempt has to go on from."""
        if self.copied is not None:
            return self.copied[1]["progress"]["iteration"]
        return self.saved.get(self.newest or "", 0)

    @property
    def newest(self) -> str | None:
        """The path of the one that an attempt has to go on from."""
        if self.copied is not None:
            return self.copied[1]["path"]
        return next((path for path in reversed(self.saved) if path not in self.suspects), None)

    def fail(self, killed: bool) -> None:
        """An attempt has failed before its first result."""
        newest = self.newest
        if newest is None:
            return
        if killed and newest not in self.spared:
            self.spared.add(newest)
        elif self.copied is not None:
            self.copied = None
        else:
            self.suspects.add(newest)


def _other(evidence: Evidence) -> Iterator[str]:
    told, scenario = evidence.told, evidence.scenario
    if told.damage:
        yield f"the journal is damaged: {told.damage}"
    if told.beginnings != 1:
        yield f"{told.beginnings} runs begin in the journal"
    trials = {e["trial_id"] for e in told.events if e["event"] == "TrialSuggested"}
    if len(trials) != scenario.trials:
        yield f"{len(trials)} trials instead of {scenario.trials}"
    unfinished = trials - told.finished()
    if unfinished:
        yield f"trials {', '.join(sorted(unfinished))} are not finished"
    reached: Counter[str] = Counter()
    for event, _, result in told.results():
        iteration = result["iteration"]
        reached[event["trial_id"]] = max(reached[event["trial_id"]], iteration)
        if result["training_iteration"] != iteration:
            yield (
                f"training_iteration is {result['training_iteration']} at iteration {iteration} "
                f"of trial {event['trial_id']}"
            )
    if scenario.scheduler not in ENDING:
        for trial_id in sorted(trials):
            if reached[trial_id] != scenario.steps:
                yield f"trial {trial_id} has ended at iteration {reached[trial_id]}"
