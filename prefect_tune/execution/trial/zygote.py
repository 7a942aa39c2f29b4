"""The zygote: a process that imports the trainable once and forks a process for every attempt.

The zygote runs no user code except for the imports, has one thread and one
connection, and ends with its trials when the agent is gone. Where a fork would be unsafe it
starts trials as new interpreters, which are also its children.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
from typing import IO, Any

from prefect_tune.execution.protocol.frames import RECEIVE_BYTES, Frame, FrameBuffer, encode
from prefect_tune.execution.protocol.helper_messages import (
    HelperMessage,
    LoadInfo,
    LoadRequest,
    Refused,
    StartRequest,
)
from prefect_tune.execution.trial import process as trial_process
from prefect_tune.execution.trial.fork_safety import choose_start_method
from prefect_tune.execution.trial.native_threads import restored
from prefect_tune.execution.trial.process_groups import OrphanedProcessGroups
from prefect_tune.trainable.shipping.packing import load_for_trials

_MAX_DESCRIPTORS = 64
_PARENT_CHECK_MS = 2000
_ORPHANS_MS = 50
#: Modules that nearly every trial imports when it first uses another one. That of torch comes with
#: the first optimizer, and takes two seconds of CPU time.
_LAZY_IMPORTS = {"torch": "torch._dynamo"}
_SPAWN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[5]); "
    "from prefect_tune.execution.trial.process import main_spawned; "
    "main_spawned(*map(int, sys.argv[1:5]))"
)


class Zygote:
    """Carries out requests of the agent at the other end of `control`."""

    def __init__(self, control: socket.socket, thread_variables: dict[str, str | None]) -> None:
        self._control = control
        self._thread_variables = thread_variables
        self._buffer = FrameBuffer()
        self._descriptors: list[int] = []
        self._children: set[int] = set()
        self._orphans = OrphanedProcessGroups()
        self._parent = os.getppid()
        self._trainable: Any = None
        self._info = LoadInfo("fork")
        self._source_file: IO[bytes] | None = None
        self._import_path: list[str] = list(sys.path)
        self._wakeup, self._wakeup_end = os.pipe()

    def run(self) -> None:
        """Serve requests until the agent closes the connection or dies; then end all trials."""
        for descriptor in (self._wakeup, self._wakeup_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wakeup_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        try:
            # A fork of the agent may keep the connection open after its death: check the parent.
            while os.getppid() == self._parent:
                timeout = _ORPHANS_MS if self._orphans else _PARENT_CHECK_MS
                ready = {descriptor for descriptor, _ in poller.poll(timeout)}
                self._orphans.kill_overdue()
                if self._wakeup in ready:
                    self._reap()
                if self._control.fileno() in ready and not self._serve():
                    return
        except ConnectionError:
            return
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)
            for pid in self._children:
                self._orphans.end(pid)
            self._orphans.end_orphans()
            self._orphans.wait_until_gone()

    def _serve(self) -> bool:
        """Receive and carry out requests; return False once the agent is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._control, RECEIVE_BYTES, _MAX_DESCRIPTORS)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        for frame in self._buffer.feed(data):
            self._carry_out(frame)
        return bool(data)

    def _carry_out(self, frame: Frame) -> None:
        try:
            request = pickle.loads(frame.payload)
            if frame.kind == HelperMessage.LOAD:
                self._reply(HelperMessage.DONE, frame.seq, self._load(request))
            else:
                pid = self._start(request)
                self._children.add(pid)
                self._reply(HelperMessage.STARTED, frame.seq, pid)
        except ConnectionError:
            raise
        except BaseException as error:  # an import may raise anything, even SystemExit
            self._reply(HelperMessage.FAILED, frame.seq, Refused.of(error))

    def _reply(self, message: HelperMessage, seq: int, payload: object) -> None:
        self._control.sendall(encode(message, seq, pickle.dumps(payload)))

    def _load(self, request: LoadRequest) -> LoadInfo:
        if os.path.isdir(request.source.cwd):
            os.chdir(request.source.cwd)
        may_fork = request.start_method != "spawn"
        self._trainable = load_for_trials(request.source, for_forks=may_fork)
        if may_fork:
            _import_lazy_modules()
        self._info = choose_start_method(request.start_method)
        if self._info.method == "spawn":
            self._source_file = _file_with(request.source)
            self._trainable = None  # each trial process loads its own
        self._orphans.adopt()
        # Imported objects are never collected: if a trial's garbage collector examined them, it
        # would copy their shared pages.
        gc.freeze()
        return self._info

    def _start(self, request: StartRequest) -> int:
        sock = self._descriptors.pop(0)
        try:
            if self._source_file is None:
                return self._fork(request, sock)
            return self._spawn(request, sock, self._source_file)
        finally:
            os.close(sock)

    def _fork(self, request: StartRequest, sock: int) -> int:
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            # Including sockets of other trials, whose closing would otherwise go unnoticed.
            for descriptor in (self._wakeup, self._wakeup_end, *self._descriptors):
                os.close(descriptor)
            environment = restored(os.environ, self._thread_variables)
            os.environ.clear()
            os.environ.update(environment)
            trial_process.main(socket.socket(fileno=sock), request, lambda: self._trainable, parent)
        with contextlib.suppress(OSError):  # the child does the same; the first call counts
            os.setpgid(pid, pid)
        return pid

    def _spawn(self, request: StartRequest, sock: int, source: IO[bytes]) -> int:
        environment = restored(os.environ, self._thread_variables)
        with _file_with(request) as request_file:
            descriptors = (sock, request_file.fileno(), source.fileno())
            arguments = [*map(str, (*descriptors, os.getpid())), json.dumps(self._import_path)]
            with open(request.stdout, "ab") as stdout, open(request.stderr, "ab") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _SPAWN, *arguments],
                    pass_fds=descriptors,
                    env={**environment, **request.env},
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    process_group=0,
                )
        # Keeps Popen from collecting the exit status, which `_reap` collects.
        process.returncode = 0
        return process.pid

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for pid in list(self._children):
            ended, wait_status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            self._orphans.end(pid)
            self._children.discard(pid)
            code = os.waitstatus_to_exitcode(wait_status)
            self._reply(HelperMessage.EXITED, 0, (pid, code))
        self._orphans.end_orphans(living=self._children)


def _import_lazy_modules() -> None:
    """Import modules that loaded libraries would import at their first use, in each trial anew."""
    for module, lazy in _LAZY_IMPORTS.items():
        if module in sys.modules:
            # Trials that need it get the error.
            with contextlib.suppress(Exception):
                importlib.import_module(lazy)


def _file_with(value: object) -> IO[bytes]:
    """Return an unnamed file with a pickled value, positioned at its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    pickle.dump(value, file)
    file.seek(0)
    return file


def main(control_fd: int, thread_variables: dict[str, str | None]) -> None:
    """Run the zygote process.

    Args:
        control_fd: File descriptor of the connection to the agent.
        thread_variables: The environment variables that `limit_to_one` returned.
    """
    gc.disable()
    trial_process.prepare()
    Zygote(socket.socket(fileno=control_fd), thread_variables).run()
