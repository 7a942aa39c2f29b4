"""Main functions of forked and spawned trial processes."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import functools
import gc
import io
import json
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.protocol.frames import FrameKind, SocketChannel
from prefect_tune.execution.protocol.helper_messages import StartRequest
from prefect_tune.execution.trial.native_threads import resize_loaded_pools
from prefect_tune.execution.trial.process_groups import TRIAL_PROCESS
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.trainable.class_runner import ClassRunner
from prefect_tune.trainable.runner import outcome_of, run_attempt
from prefect_tune.trainable.runtime.attempt import TrialTerminated
from prefect_tune.trainable.runtime.attempt_session import current_session
from prefect_tune.trainable.runtime.environment import PRINT_ERRORS, is_on
from prefect_tune.trainable.runtime.metrics import node_identity
from prefect_tune.trainable.shipping.packing import load_for_trials
from prefect_tune.trainable.trial_workers import run_call

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
#: Exit status of a trial process that has sent its failure in a FAILED frame.
FAILED_EXIT_CODE = 1


def main(
    sock: socket.socket, request: StartRequest, load: Callable[[], Any], parent: int
) -> NoReturn:
    """Run one or more attempts in this process, then exit.

    Args:
        sock: Connection to the agent.
        request: The first attempt.
        load: Returns the trainable.
        parent: Process id of the zygote; this process is killed when the zygote ends.
    """
    started = time.perf_counter()
    code = FAILED_EXIT_CODE
    try:
        _detach(parent, request.title)
        channel = SocketChannel(sock)
        with contextlib.suppress(ConnectionError):  # the agent is gone
            code = _serve(channel, request, load, started)
        _run_exit_handlers()
    except BaseException:
        traceback.print_exc()
    finally:
        # Exit here in any case, because returning would continue the zygote's code.
        _flush()
        os._exit(code)


def _serve(
    channel: SocketChannel, request: StartRequest, load: Callable[[], Any], started: float
) -> int:
    """Run one attempt after the other, and return the exit status."""
    _redirect(request.stdout, request.stderr)
    os.environ.update(request.env)
    os.environ[TRIAL_PROCESS] = str(os.getpid())
    resize_loaded_pools(request.env)
    _let_children_end_at_sigterm()
    _show_own_log()
    classes = ClassRunner(reuse=request.reuse)
    try:
        while True:
            code = _run(channel, request, load, started, classes)
            if not classes.has_reusable:
                return code
            try:
                request = pickle.loads(channel.wait_next())
            except ConnectionError:  # no further attempt
                return code
            started = time.perf_counter()
            _flush()
            _redirect(request.stdout, request.stderr)
            _name_process(request.title)
    finally:
        classes.close()


def _run(
    channel: SocketChannel,
    request: StartRequest,
    load: Callable[[], Any],
    started: float,
    classes: ClassRunner,
) -> int:
    """Run an attempt, send its frames and return its exit status."""
    if request.is_call:
        returned, payload = run_call(request.context, os.path.dirname(request.stdout), load)
        _flush()
        channel.send(FrameKind.RETURNED if returned else FrameKind.FAILED, 0, payload)
        return 0 if returned else FAILED_EXIT_CODE

    def on_sigterm(_signum: int, _frame: object) -> None:
        session = current_session()
        if session is None:  # user code is not running
            raise TrialTerminated
        session.terminate()

    channel.send(FrameKind.HELLO, 0, json.dumps({"pid": os.getpid(), **node_identity()}).encode())
    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        trainable = load()  # first, because the context may contain objects of its modules
        context = pickle.loads(request.context)
        end = run_attempt(context, trainable, channel, process_started=started, classes=classes)
    except BaseException as error:
        end = outcome_of(error)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if isinstance(end, AttemptError) and is_on(os.environ.get(PRINT_ERRORS) or "1"):
        # Standard error may be closed, on a full disk, or an object of the user's. Its errors must
        # not keep the agent from being told why the attempt failed.
        with contextlib.suppress(Exception):
            print(end.traceback, file=sys.stderr)
    _flush()
    return send_end(channel, end, waits=classes.has_reusable)


def _show_own_log() -> None:
    """Write this package's log to the trial's standard error."""
    logger = logging.getLogger("prefect_tune")
    if not logger.handlers and logger.level == logging.NOTSET:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s\t%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        # A handler that user code adds to the root logger would repeat the lines.
        logger.propagate = False


def _let_children_end_at_sigterm() -> None:
    """Reset SIGTERM in processes that user code forks, so that the signal ends them.

    A `multiprocessing.Pool` ends its workers by SIGTERM, and would wait for ever for one that runs
    the trial's handler instead. The signal is blocked during the fork: otherwise one that arrives
    before the child has reset the handler would be lost.
    """

    hold = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM})
    release = functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})

    def release_child() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=release_child)


def send_end(channel: SocketChannel, end: Outcome | AttemptError, waits: bool = False) -> int:
    """Send the last frame of an attempt, and return the process's exit status.

    Args:
        channel: The connection to the agent.
        end: How the attempt ended.
        waits: True if the process will wait for another trial.
    """
    if isinstance(end, Outcome):
        channel.send(FrameKind.ENDED, 0, json.dumps({"outcome": end, "waits": waits}).encode())
        return 0
    channel.send(FrameKind.FAILED, 0, pickle.dumps(end))
    return end.exit_code if end.exit_code is not None and end.exit_code > 0 else FAILED_EXIT_CODE


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def prepare() -> None:
    """Fill caches in the zygote that every forked trial process would otherwise fill itself."""
    node_identity()
    _libc()


def _detach(parent: int, title: str) -> None:
    """Give this process its own group, default signals and name, and let it die with the zygote."""
    with contextlib.suppress(OSError):  # the parent does the same; the first call counts
        os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _name_process(title)
    if os.getppid() != parent:  # the zygote died before prctl was called
        os._exit(FAILED_EXIT_CODE)
    gc.enable()
    atexit._clear()


def _name_process(title: str) -> None:
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_NAME, title.encode()[-15:], 0, 0, 0)


def _redirect(stdout: str, stderr: str) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    targets = {path: os.open(path, flags, 0o666) for path in {stdout, stderr}}
    os.dup2(targets[stdout], 1)
    os.dup2(targets[stderr], 2)
    for descriptor in targets.values():
        os.close(descriptor)
    # Line-buffered, so that a log can be followed and a crash loses nothing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    # Writes the stack to standard error at a segmentation fault.
    faulthandler.enable(file=2)


def _run_exit_handlers() -> None:
    """Run user code's `atexit` functions, and end its multiprocessing children.

    The order is that of the interpreter: pools of processes, such as joblib's, first end their
    workers. The last step waits for all children, and would wait for ever for such workers.
    Thread pools are left out, because a trial does not wait for its threads.
    """
    for function in reversed(getattr(threading, "_threading_atexits", [])):
        # The registered functions are partial functions.
        if getattr(function, "func", function).__module__ != "concurrent.futures.thread":
            try:
                function()
            except Exception:
                traceback.print_exc()
    atexit._run_exitfuncs()
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:
        multiprocessing._exit_function()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # user code may have replaced the stream
            stream.flush()


def main_spawned(sock_fd: int, request_fd: int, source_fd: int, parent: int) -> NoReturn:
    """Run a spawned trial process, with the request and the trainable in the given files."""
    with open(request_fd, "rb") as file:
        request: StartRequest = pickle.load(file)

    def load() -> Any:
        # All spawned trials share the file's position, so it must not be moved.
        return load_for_trials(pickle.loads(os.pread(source_fd, os.fstat(source_fd).st_size, 0)))

    main(socket.socket(fileno=sock_fd), request, load, parent)
