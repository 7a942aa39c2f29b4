"""The rules for what happens to a trial whose attempt has ended or failed."""

from __future__ import annotations

import pickle
import signal
from enum import StrEnum

from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.error import TrialFailed
from prefect_tune.experiment.trial import Trial

#: Kinds of `AttemptError` with rules of their own.
RESTORE = "restore"  #: the checkpoint to go on from is unreadable, or the trial could not load it
STORAGE = "storage"  #: the checkpoint could not be fetched: the store does not answer
START = "start"  #: the process could not be started
EXPORT = "export"  #: the model could not be exported at the end of the trial
UNSAVED = "checkpoint"  #: the last checkpoint did not get to storage

#: The longest wait between two tries, in seconds.
LONGEST_S = 300.0
#: The wait after the second lost attempt in a row, doubled with each further one.
_LOST_S = 1.0


class Blame(StrEnum):
    """What has caused the failure of an attempt."""

    TRIAL = "trial"
    CHECKPOINT = "checkpoint"  #: the checkpoint that it was to go on from
    NODE = "node"  #: its node, or the store


def is_unsaved(live: LiveTrial, options: CoordinatorOptions) -> bool:
    """Return True if the last checkpoint of an attempt is not in storage, and has to be."""
    return options.must_store and live.book.due is not None


def blame_for(live: LiveTrial, event: AttemptEnded) -> Blame:
    """Return what has caused the failure of an attempt."""
    kind = "" if event.error is None else event.error.kind
    if event.outcome in (Outcome.FINISHED, Outcome.STOPPED) and live.book.problem_lost:
        return Blame.NODE
    if event.outcome is Outcome.LOST or kind == STORAGE:
        return Blame.NODE
    if kind == RESTORE and live.start is not None and live.start != live.book.origin:
        return Blame.CHECKPOINT
    return Blame.TRIAL


def casts_doubt(live: LiveTrial, event: AttemptEnded) -> bool:
    """Return True if an attempt may have failed because of the checkpoint that it started from."""
    return live.last_seq == 0 and (event.error is None or event.error.kind not in (START, UNSAVED))


def was_killed(event: AttemptEnded) -> bool:
    """Return True if the process got SIGKILL or SIGTERM, from a person or for lack of memory."""
    exit_code = None if event.error is None else event.error.exit_code
    return exit_code in (-signal.SIGKILL, -signal.SIGTERM)


def fate_of(
    live: LiveTrial,
    event: AttemptEnded,
    options: CoordinatorOptions,
    stopping: bool,
    interrupted: bool = False,
) -> Fate:
    """Return what happens to a trial whose attempt has ended.

    A trial has terminated only if its last checkpoint is in storage.

    Args:
        live: The trial.
        event: The end of the attempt.
        options: How failures are handled.
        stopping: Whether the experiment is being ended.
        interrupted: Whether the trial goes on when the experiment is resumed.
    """
    outcome = event.outcome
    # A trial over its time limit gets no more time to write its last checkpoint.
    unsaved = is_unsaved(live, options) and not live.overdue
    if live.completed and event.error is not None and event.error.kind == EXPORT:
        # The trial has its final result, so another attempt is useless, but the model is missing.
        return Fate.FAILED
    if (outcome is Outcome.FINISHED or live.completed) and not unsaved:
        return Fate.TERMINATED
    if outcome is Outcome.PAUSED and not (unsaved and live.stop_reason):
        return Fate.TERMINATED if live.stop_reason else Fate.PAUSED
    if live.interrupted or (unsaved and interrupted):
        return Fate.INTERRUPTED
    if outcome is Outcome.UNSTARTED:
        # The trial goes on waiting, unless this trial itself was told to end.
        wanted = not live.stop_reason or live.overdue or stopping
        return Fate.REQUEUED if wanted else Fate.TERMINATED
    if outcome is Outcome.STOPPED and not unsaved:
        return Fate.TERMINATED
    if live.stop_reason and options.fail_fast and not unsaved:
        # It failed while all trials are stopped because of another failed one: report only that.
        return Fate.TERMINATED
    blame = blame_for(live, event)
    if blame is not Blame.TRIAL:
        if live.stop_reason and not unsaved:
            # The trial was told to end anyway.
            return Fate.TERMINATED
        if not stopping and (blame is Blame.CHECKPOINT or live.lost < options.max_lost):
            return Fate.REQUEUED
    allowed = options.max_failures
    may_retry = not stopping and (allowed < 0 or live.trial.num_failures < allowed)
    return Fate.RETRIED if may_retry else Fate.FAILED


def original_exception(trial: Trial) -> Exception:
    """Return the exception that user code has raised, or a `TrialFailed` with its text.

    The pickle comes from our own trial process; if the exception class cannot be loaded here, its
    text is used instead.
    """
    error = trial.error
    if error is not None and error.pickled is not None:
        try:
            loaded = pickle.loads(error.pickled)
        except Exception as problem:
            return TrialFailed(f"{trial} failed: {error} (not loadable here: {problem})", [trial])
        if isinstance(loaded, Exception):
            # As the cause, the trial's own traceback is shown before that of this process.
            loaded.__cause__ = TrialFailed(f"{trial} failed:\n{error.text()}", [trial])
            return loaded
    return TrialFailed(f"{trial} failed: {trial.error_msg}", [trial])


def delay_after(setbacks: int, lost: int, retry_delay_s: float) -> float:
    """Return the seconds to wait before a trial is tried again.

    Args:
        setbacks: Attempts that failed or were lost since the trial's last new checkpoint, >= 1.
        lost: How many of them were lost, if the last one was; else 0.
        retry_delay_s: The user's delay after the first failure.
    """
    delay = _doubled(retry_delay_s, setbacks - 1)
    if lost > 1:
        # A lost node or an unreachable store often takes a while to come back.
        delay = max(delay, _doubled(_LOST_S, lost - 2))
    return delay


def _doubled(delay: float, times: int) -> float:
    # The exponent is limited because 2.0 ** 1024 overflows.
    return min(LONGEST_S, delay * 2.0 ** min(times, 30)) if delay > 0 else 0.0
