"""What the journal of an experiment says about its trials, at a glance.

Results are not read from it: they are in each trial's own files, which are smaller.
"""

from __future__ import annotations

import ast
import base64
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from prefect_tune.coordinator.events import Errored, Fate, Outcome
from prefect_tune.error import StorageError
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.plain import is_plain, load_plain
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED
from prefect_tune.storage.journal.file import JOURNAL_FILE, line_problem
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal_mending import mend

log = logging.getLogger(__name__)

_STATUS = {
    Fate.TERMINATED: TERMINATED,
    Fate.PAUSED: PAUSED,
    Fate.RETRIED: PENDING,
    Fate.REQUEUED: PENDING,
    Fate.FAILED: ERROR,
    Fate.INTERRUPTED: PENDING,
}
_ENDED = {
    Outcome.FINISHED: TERMINATED,
    Outcome.STOPPED: TERMINATED,
    Outcome.PAUSED: PAUSED,
    Outcome.FAILED: ERROR,
    Outcome.LOST: PENDING,
    Outcome.UNSTARTED: PENDING,
}


@dataclass(slots=True)
class TrialRecord:
    """A trial as the journal knows it.

    Attributes:
        trial_id: Id.
        directory: Name of its directory below the experiment directory.
        config: Its configuration; None if it cannot be read back.
        searched: Flat path -> value of what was searched.
        tag: Experiment tag.
        name: What a `trial_name_creator` called it, if there was one.
        status: PENDING, RUNNING, PAUSED, TERMINATED or ERROR.
        attempt: Number of the newest attempt.
        failures: Attempts that failed by the trial's own fault.
        error: Why the last attempt failed.
        started: When the first attempt began, in seconds since the epoch.
        location: ``hostname:pid`` of the newest attempt.
    """

    trial_id: str
    directory: str
    config: dict[str, Any] | None
    searched: dict[str, Any]
    tag: str
    name: str | None
    status: str = PENDING
    attempt: int = 0
    failures: int = 0
    error: AttemptError | None = None
    started: float | None = None
    location: str = ""


@dataclass(slots=True)
class ExperimentRecord:
    """The last run in a journal.

    Attributes:
        header: How it was started last.
        trials: Its trials by id, in the order in which they were made.
        earlier: Directories of trials of earlier runs with the same name.
        problem: Why the rest of the journal cannot be read, "" if all could.
        large: Where large values of configurations are.
    """

    header: JournalHeader | None = None
    trials: dict[str, TrialRecord] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    problem: str = ""
    large: LargeValues | None = None

    def argument(self, name: str) -> str | list[str] | None:
        """An argument of the run, such as `metric`, if it was a text or several."""
        words = "" if self.header is None else self.header.arguments.get(f"`{name}`", "")
        try:
            value = ast.literal_eval(words)
        except (ValueError, SyntaxError):
            return None
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return value if texts or isinstance(value, str) else None


def read_record(experiment_dir: str) -> ExperimentRecord | None:
    """Read what the journal in a directory says about the last run.

    A journal that a crash has cut off is used as far as it goes, with a warning.

    Returns:
        The record; None if there is no journal, or nothing of it can be read.

    Raises:
        StorageError: If the journal is of a newer format.
    """
    path = os.path.join(experiment_dir, JOURNAL_FILE)
    record = ExperimentRecord(large=LargeValues(experiment_dir))
    try:
        for line in _good_lines(path, record):
            _take(record, line)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the journal {path}: {error.strerror or error}") from error
    if record.problem:
        log.warning("The journal %s is used up to %s.", path, record.problem)
    return record if record.header is not None else None


def _good_lines(path: str, record: ExperimentRecord) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            problem = line_problem(line)
            mended = mend(line) if problem else line
            if mended is None:
                record.problem = f"line {number}, where {problem}"
                return
            for good in mended.split(b"\n")[:-1]:
                yield good[9:]


def _take(record: ExperimentRecord, text: bytes) -> None:
    if b'"ResultReported"' in text[:40]:
        return
    header = parse_header(text)
    if header is not None:
        if header.is_first:
            record.earlier |= {trial.directory for trial in record.trials.values()}
            record.trials = {}
        record.header = header
        return
    try:
        body = orjson.loads(text)
    except ValueError:
        body = json.loads(text)  # knows NaN
    kind = body.get("event")
    if kind == "TrialSuggested":
        _suggested(record, body)
    elif kind == "Resumed":
        _resumed(record, body)
    else:
        trial = record.trials.get(body.get("trial_id", ""))
        if trial is not None:
            _changed(trial, kind, body, record.large)


def _suggested(record: ExperimentRecord, body: dict[str, Any]) -> None:
    config, searched = body["config"], body["resolved"]
    if "pickled" in body:
        unpickled = _unpickled(body["pickled"], record.large)
        config, searched = unpickled or (None, searched)
    record.trials[body["trial_id"]] = TrialRecord(
        body["trial_id"],
        body.get("relative_logdir") or body["trial_id"],
        config,
        searched,
        body["experiment_tag"],
        body.get("custom_name"),
    )


def _unpickled(text: str, large: LargeValues | None) -> Any:
    """Plain data only: who reads results runs no code of those who can write them."""
    try:
        return load_plain(base64.b64decode(text), large)
    except Exception:
        # Objects of users' own classes; the files tell what they looked like.
        return None


def _changed(
    trial: TrialRecord, kind: str, body: dict[str, Any], large: LargeValues | None
) -> None:
    if kind in ("AttemptLaunched", "AttemptStarted"):
        trial.status = RUNNING
        trial.attempt = body["attempt"]
        if kind == "AttemptStarted":
            trial.location = f"{body['hostname']}:{body['pid']}"
            if trial.started is None:
                trial.started = body["time"]
    elif kind == "TrialRedirected":
        config = body.get("config")
        if "pickled" in body:
            config = _unpickled(body["pickled"], large)
        trial.config = config or trial.config
    elif kind == "AttemptEnded":
        _ended(trial, body)


def _ended(trial: TrialRecord, body: dict[str, Any]) -> None:
    if body.get("error"):
        trial.error = _error(body["error"])
    fate = body.get("fate")
    if fate is not None:
        trial.status = _STATUS[Fate(fate)]
        trial.failures += fate in (Fate.RETRIED, Fate.FAILED)
    elif not body.get("uploading"):
        # A record that does not say what became of the trial says how its attempt ended.
        trial.status = _ENDED[Outcome(body["outcome"])]


def _error(body: dict[str, Any]) -> AttemptError:
    pickled = body.get("pickled")
    data = None if pickled is None else base64.b64decode(pickled)
    return AttemptError(
        body.get("kind", "error"),
        body.get("message", ""),
        body.get("traceback", ""),
        body.get("exit_code"),
        data if data is not None and is_plain(data) else None,
    )


def _resumed(record: ExperimentRecord, body: dict[str, Any]) -> None:
    """Attempts that ran are gone; what was finished may be run again."""
    keep = Errored.KEEP
    again = {
        RUNNING: True,
        PAUSED: False,
        PENDING: False,
        ERROR: body.get("errored", keep) != keep,
        TERMINATED: body.get("finished", keep) != keep,
    }
    for trial in record.trials.values():
        if again[trial.status]:
            trial.status = PENDING
