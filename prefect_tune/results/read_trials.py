"""Read trials from an experiment directory, which may have been moved since the run."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any

from prefect_tune.error import ExperimentNotFound, StorageError
from prefect_tune.experiment.attempt import ERROR_FILE, ERROR_PICKLE_FILE, AttemptError
from prefect_tune.experiment.pickling.plain import is_plain
from prefect_tune.experiment.plain import finite_number
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial, TrialTerms
from prefect_tune.logger.json import PARAMS_FILE, RESULT_FILE
from prefect_tune.nested import flatten, flatten_config
from prefect_tune.results.find_checkpoints import find_checkpoints
from prefect_tune.results.frames import read_results
from prefect_tune.results.journal_summary import ExperimentRecord, read_record
from prefect_tune.storage.journal.file import JOURNAL_FILE
from prefect_tune.trainable.tracked_checkpoint import open_tracked

log = logging.getLogger(__name__)

_DIR_NAME = re.compile(
    r"(?P<name>.+?)_(?P<id>[0-9a-f]{5}_\d{5}|[0-9a-f]{8})(_(?P<tag>.*?))?"
    r"(_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_[0-9a-f]{4})*)?"
)


def find_experiments(directory: str) -> list[str]:
    """Return the experiment directories that a directory is or contains.

    Args:
        directory: An experiment directory, or a directory with experiment directories in it.

    Raises:
        StorageError: If there is no experiment, or the directory cannot be read.
    """
    if is_experiment(directory):
        return [directory]
    below = [path for path in _directories_in(directory) if is_experiment(path)]
    if below:
        return below
    if os.path.isfile(os.path.join(directory, PARAMS_FILE)):
        parent = os.path.dirname(os.path.abspath(directory))
        raise StorageError(f"{directory} is the directory of a trial; its experiment is {parent}.")
    raise ExperimentNotFound(f"there is no experiment in {directory}: no journal and no trials.")


def is_experiment(directory: str) -> bool:
    """Return True if a directory has a journal or trials; False also if it cannot be read."""
    if os.path.isfile(os.path.join(directory, JOURNAL_FILE)):
        return True
    try:
        below = _directories_in(directory)
    except StorageError:
        return False
    return any(
        os.path.isfile(os.path.join(path, name))
        for path in below
        for name in (PARAMS_FILE, RESULT_FILE)
    )


def _directories_in(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        raise (ExperimentNotFound if missing else StorageError)(
            f"cannot read the experiment directory {directory}: {error.strerror or error}"
        ) from error


def load_trials(experiment_dir: str, record: ExperimentRecord | None = None) -> list[Trial]:
    """Read the trials of an experiment, in order of creation.

    The journal, if there is one, lists the trials and their statuses. Without a journal, a trial is
    a directory with a `params.json` or a `result.json`; its status is ERROR if it has an error
    file, else TERMINATED. Damaged files and lines, as a killed process leaves them, are skipped;
    their number is logged.

    Args:
        experiment_dir: The experiment directory.
        record: The last run in its journal; None without a journal.

    Raises:
        StorageError: If there is no such directory or it cannot be read.
    """
    names = [os.path.basename(path) for path in _directories_in(experiment_dir)]
    damaged: list[str] = []
    trials: list[Trial] = []
    if record is not None:
        trials = record.trials
        for trial in trials:
            _add_results(trial, damaged)
        known = {trial.relative_logdir for trial in trials} | record.earlier_trial_dirs
        # Directories of trials that a damaged journal has lost.
        names = [name for name in names if name not in known]
    found = (_load_trial(experiment_dir, name, damaged) for name in names)
    others = sorted((trial for trial in found if trial is not None), key=_creation_order)
    if damaged:
        log.warning(
            "%d damaged files in %s were skipped or read in part; the first is %s",
            len(damaged),
            experiment_dir,
            damaged[0],
        )
    _infer_searched_parameters(others)
    return trials + others


def _add_results(trial: Trial, damaged: list[str]) -> None:
    """Add the results and checkpoints in a trial's files to a trial from the journal."""
    directory = trial.logdir
    params = os.path.join(directory, PARAMS_FILE)
    if not trial.config:
        trial.config = _read_config(params, damaged) or {}
    started = trial.start_time
    _read_results_and_checkpoints(trial, directory, damaged)
    trial.start_time = started or trial.start_time
    if trial.status == TERMINATED and trial.results_seen:
        # The end of a trial is decided after its last result has been written to the file.
        trial.last_result = {**trial.last_result, "done": True}
    trial.compact()


def _load_trial(experiment_dir: str, name: str, damaged: list[str]) -> Trial | None:
    directory = os.path.join(experiment_dir, name)
    params, results = os.path.join(directory, PARAMS_FILE), os.path.join(directory, RESULT_FILE)
    config = _read_config(params, damaged) if os.path.exists(params) else None
    if config is None and not os.path.exists(results):
        return None
    parsed = _DIR_NAME.fullmatch(name)
    trial = Trial(
        parsed["id"] if parsed else name,
        config or {},
        trainable_name=parsed["name"] if parsed else "trainable",
        experiment_tag=(parsed["tag"] or "") if parsed else "",
        relative_logdir=name,
        local_experiment_dir=experiment_dir,
        custom_name=None if parsed else name,
        terms=TrialTerms(open_checkpoint=open_tracked),
    )
    _read_results_and_checkpoints(trial, directory, damaged)
    if config is None:
        trial.config = trial.last_result.get("config", {})
    last = trial.last_result
    trial.trial_id = str(last.get("trial_id") or trial.trial_id)
    trial.experiment_tag = str(last.get("experiment_tag") or trial.experiment_tag)
    trial.status = TERMINATED
    trial.error = _read_error(directory)
    if trial.error is not None and not _reported_after_error(trial, directory):
        trial.status = ERROR
    trial.compact()
    return trial


def _read_results_and_checkpoints(trial: Trial, directory: str, damaged: list[str]) -> None:
    """Set a trial's results and checkpoints to those in its directory."""
    rows: list[dict[str, Any]] = []
    path = os.path.join(directory, RESULT_FILE)
    if os.path.exists(path):
        rows = _read_results_into(trial, path, damaged)
    trial.checkpoints = tuple(find_checkpoints(directory, rows))


def load_trial(directory: str) -> Trial:
    """Read the trial in a directory; its status comes from the experiment's journal, if any.

    Raises:
        StorageError: If there is no trial in the directory.
    """
    directory = os.path.abspath(os.path.expanduser(directory))
    experiment_dir, name = os.path.split(directory)
    record = read_record(experiment_dir)
    damaged: list[str] = []
    if record is not None:
        for known in record.trials:
            if known.relative_logdir == name:
                _add_results(known, damaged)
                return known
    trial = _load_trial(experiment_dir, name, damaged)
    if trial is None:
        raise StorageError(
            f"there is no trial in {directory}: it has neither {PARAMS_FILE} nor {RESULT_FILE}."
        )
    return trial


def _read_config(path: str, damaged: list[str]) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            config = json.load(file)
    except (OSError, ValueError):
        config = None
    if isinstance(config, dict):
        return config
    damaged.append(path)
    return None


def _read_results_into(trial: Trial, path: str, damaged: list[str]) -> list[dict[str, Any]]:
    complete, rows = True, []
    trial.clear_results()
    trial.results_seen = 0
    try:
        for result in read_results(path):
            if result is None:
                complete = False
            else:
                rows.append(result)
                time = finite_number(result.get("timestamp")) or 0.0
                trial.update_last_result(result, flatten(result), time)
                if trial.start_time is None:
                    trial.start_time = time - (finite_number(result.get("time_this_iter_s")) or 0.0)
    except OSError:
        complete = False
    if not complete:
        damaged.append(path)
    return rows


def _read_error(directory: str) -> AttemptError | None:
    try:
        with open(os.path.join(directory, ERROR_FILE), encoding="utf-8", errors="replace") as file:
            text = file.read().strip()
    except OSError:
        return None
    kind, _, message = (text.splitlines() or [""])[-1].partition(": ")
    return AttemptError(kind or "error", message, text, pickled=_read_pickled_error(directory))


def _reported_after_error(trial: Trial, directory: str) -> bool:
    """Return True if a retry reported after the failure; the error file is never removed."""
    failed = os.path.getmtime(os.path.join(directory, ERROR_FILE))
    return (trial.last_update_time or 0.0) > failed


def _read_pickled_error(directory: str) -> bytes | None:
    try:
        with open(os.path.join(directory, ERROR_PICKLE_FILE), "rb") as file:
            data = file.read()
    except OSError:
        return None
    # `Result.error` unpickles it, which must not run code from the file.
    return data if is_plain(data) else None


def _creation_order(trial: Trial) -> tuple[int, float, str]:
    # An experiment tag begins with the number of the trial.
    number = trial.experiment_tag.partition("_")[0]
    return (
        int(number) if number.isdecimal() else 0,
        trial.start_time or 0.0,
        trial.relative_logdir,
    )


def _infer_searched_parameters(trials: list[Trial]) -> None:
    """Take the parameters that differ between trials as the searched ones; no file names those."""
    configs = [flatten_config(trial.config) for trial in trials]
    seen: dict[str, Any] = {}
    differing: dict[str, None] = {}
    for config in configs:
        for name, value in config.items():
            if not _equal(seen.setdefault(name, value), value):
                differing[name] = None
    for trial, config in zip(trials, configs, strict=True):
        trial.evaluated_params = {name: config[name] for name in differing if name in config}


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # arrays have no single truth value; users' classes may raise anything
        return False
