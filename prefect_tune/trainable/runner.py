"""Runs one attempt: prepares the process, calls the trainable, and returns the outcome."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import random
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.random  # otherwise each trial would import it at its first use, for 8 ms

from prefect_tune.coordinator.events import Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.trainable.class_runner import (
    ClassRunner,
    ExportFailed,
    ResetRefused,
    RestoreFailed,
)
from prefect_tune.trainable.function import run_function
from prefect_tune.trainable.runtime.attempt import AttemptContext, Channel
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.runtime.current_session import activate
from prefect_tune.trainable.runtime.error_pickling import pickle_exception
from prefect_tune.trainable.runtime.stopping import TrialEnding, TrialTerminated
from prefect_tune.trainable.runtime.variables import (
    CHANGE_DIRECTORY,
    FULL_TRACEBACKS,
    ORIGINAL_DIRECTORY,
    is_on,
)
from prefect_tune.trainable.thread_directory import unshare_directory
from prefect_tune.trainable.trainable import Trainable

_OURS = str(Path(__file__).resolve().parent.parent) + os.sep
_MESSAGE_LENGTH = 500
#: Kind of an error that occurred while restoring a checkpoint.
RESTORE = "restore"
#: Kind of an error that occurred while exporting a model.
EXPORT = "export"


def run_attempt(
    context: AttemptContext,
    trainable: Any,
    channel: Channel,
    *,
    own_process: bool = True,
    process_started: float | None = None,
    classes: ClassRunner | None = None,
) -> Outcome | AttemptError:
    """Run one attempt to its end, and return exceptions of user code as errors.

    Args:
        context: Context of the attempt.
        trainable: The function to call, or the class.
        channel: Connection to the agent of the node.
        own_process: False if other trials run in this process: environment and global random
            state then stay as they are, and so does the working directory of other threads.
        process_started: `time.perf_counter` at the start of the process, for `warmup_time`.
        classes: Runs class trainables; None for a new runner.

    Returns:
        How the attempt ended, or why it failed.
    """
    started = time.perf_counter() if process_started is None else process_started
    session: Session | None = None
    try:
        if own_process:
            _enter_trial_directory(context.trial_dir, os.environ)
            seed_random_state(context)
        elif unshare_directory():
            _enter_trial_directory(context.trial_dir, context.env)
        session = Session(context, channel, warmup_time=time.perf_counter() - started)
        session.remove_leftovers()
        activate(session, whole_process=own_process)
        around = context.surroundings
        with contextlib.nullcontext() if around is None else around(channel.send_log, own_process):
            if inspect.isclass(trainable) and issubclass(trainable, Trainable):
                (classes or ClassRunner()).run(trainable, session)
            else:
                run_function(trainable, session)
        # User code may have caught the ending exception and returned.
        return _outcome_of_ending(session.ending) if session.ending else Outcome.FINISHED
    except BaseException as error:
        return outcome_of(error)
    finally:
        if session is not None:
            session.close()
        activate(None, whole_process=own_process)


def _outcome_of_ending(ending: type[TrialEnding]) -> Outcome | AttemptError:
    if issubclass(ending, TrialTerminated):
        return AttemptError("signal", "ended by SIGTERM", exit_code=-signal.SIGTERM)
    return ending.outcome


def outcome_of(error: BaseException) -> Outcome | AttemptError:
    """Return how an attempt ended whose user code raised this exception."""
    if isinstance(error, TrialEnding):
        return _outcome_of_ending(type(error))
    if isinstance(error, SystemExit):
        return _outcome_of_exit(error)
    if isinstance(error, (RestoreFailed, ExportFailed)) and error.__cause__ is not None:
        failed = outcome_of(error.__cause__)
        if isinstance(failed, AttemptError):
            kind = RESTORE if isinstance(error, RestoreFailed) else EXPORT
            return replace(failed, kind=kind, message=f"{failed.kind}: {failed.message}")
        return failed
    if isinstance(error, ResetRefused):
        return AttemptError("reuse", str(error))
    return AttemptError(
        kind=type(error).__name__,
        message=_first_line(error)[:_MESSAGE_LENGTH],
        traceback=_user_traceback(error),
        pickled=pickle_exception(error),
    )


def _first_line(error: BaseException) -> str:
    try:
        text = str(error).strip()
    except Exception:  # it is the user's class
        return "(its message cannot be shown)"
    return text.splitlines()[0] if text else ""


def _outcome_of_exit(error: SystemExit) -> Outcome | AttemptError:
    if error.code is None or error.code == 0:
        return Outcome.FINISHED
    # As in the interpreter, a number is the exit status; anything else is printed and means 1.
    code = error.code if isinstance(error.code, int) else 1
    said = "" if isinstance(error.code, int) else f": {_first_line(error)}"
    message = f"the trainable called sys.exit({code}){said}"[:_MESSAGE_LENGTH]
    return AttemptError("exit", message, _user_traceback(error), code)


def seed_random_state(context: AttemptContext, rank: int = 0) -> None:
    """Seed `random` and `numpy.random` for this attempt.

    With a seed, the state depends on seed, trial id and the attempt's first iteration, so that a
    resumed trial does not draw the same numbers again. Without a seed it is fresh entropy, because
    forked processes would otherwise all continue with their parent's state.

    Args:
        context: The attempt.
        rank: Number of the process, if it is one of several of the attempt.
    """
    if context.seed is None:
        random.seed()
        np.random.seed()
        return
    text = f"{context.seed}:{context.launch.trial_id}:{context.launch.progress.iteration}"
    if rank:
        text += f":{rank}"
    digest = hashlib.sha256(text.encode()).digest()
    random.seed(digest)
    np.random.seed(np.frombuffer(digest, dtype=np.uint32))


def _enter_trial_directory(trial_dir: str, variables: Mapping[str, str]) -> None:
    os.environ.setdefault(ORIGINAL_DIRECTORY, os.getcwd())
    if is_on(variables.get(CHANGE_DIRECTORY) or "1"):
        os.chdir(trial_dir)


def _user_traceback(error: BaseException) -> str:
    """Format a traceback from the user's first frame on, without this package's frames above."""
    frames: TracebackType | None = error.__traceback__
    if is_on(os.environ.get(FULL_TRACEBACKS, "")):
        return "".join(traceback.format_exception(error))
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    kept = frames if frames is not None else error.__traceback__
    return "".join(traceback.format_exception(type(error), error, kept))
