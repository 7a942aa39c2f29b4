"""Runs one attempt: prepares the process, calls the trainable, and returns the outcome."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import inspect
import logging
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle
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
from prefect_tune.trainable.runtime.attempt import (
    AttemptContext,
    Channel,
    TrialEnding,
    TrialTerminated,
)
from prefect_tune.trainable.runtime.attempt_session import Session, activate
from prefect_tune.trainable.runtime.environment import (
    CHANGE_DIRECTORY,
    FULL_TRACEBACKS,
    ORIGINAL_DIRECTORY,
    is_on,
)
from prefect_tune.trainable.trainable import Trainable

_CLONE_FS = 0x200
_logger = logging.getLogger(__name__)
_warned = False
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


def pickle_exception(error: BaseException) -> bytes | None:
    """Pickle an exception so that it can be loaded; None if that is impossible.

    To load an exception, Python calls its class with its `args`: this fails if `__init__` has other
    parameters; and objects that an exception refers to (a lock, a connection) may not be
    picklable. Such an exception is rebuilt without calling `__init__`, and without the objects
    that cannot be pickled.
    """
    for is_rebuilt, form in _picklable_forms(error):
        try:
            pickled: bytes = cloudpickle.dumps(form)
            loaded = pickle.loads(pickled)
            # A class that composes its message would compose it anew from the message.
            if is_rebuilt or (repr(loaded) == repr(error) and str(loaded) == str(error)):
                return pickled
        except Exception:  # objects of users' classes may raise anything
            continue
    return None


def _picklable_forms(error: BaseException) -> Iterator[tuple[bool, object]]:
    """Yield forms of an exception to pickle, and True if loading one skips `__init__`."""
    yield False, error
    # Python's default form, because Dask registers one without `__init__` for all exceptions.
    yield False, _ReducedCall(type(error), error.args, error.__dict__ or None)
    arguments = tuple(arg if _is_picklable(arg) else repr(arg) for arg in error.args)
    state = {name: value for name, value in error.__dict__.items() if _is_picklable(value)}
    yield True, _ReducedCall(rebuild, (type(error), arguments, state))


class _ReducedCall:
    """Object that is pickled as a given call, see `object.__reduce__`."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def rebuild(cls: type[BaseException], arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """Create an exception of a class without calling its `__init__`."""
    error = cls.__new__(cls, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


def _is_picklable(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:
        return False
    return True


def unshare_directory() -> bool:
    """Give this thread, and threads that it starts, a working directory of their own.

    Returns:
        False if the system does not allow it; a warning says so once.
    """
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_FS) == 0:
            return True
        reason = os.strerror(ctypes.get_errno())
    else:
        reason = "only Linux has a working directory for each thread"
    global _warned
    if not _warned:
        _warned = True
        _logger.warning(
            "Trials in threads work in the directory of their process, not in their own (%s). Use "
            "tune.get_trial_dir() for the files that they write.",
            reason,
        )
    return False
