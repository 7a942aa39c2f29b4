"""Starts Python processes as forks of one that has imported what they import: it saves CPU time.

The code that they run, their environment and descriptors are those of a booted process. Tests that
run scripts or workers in processes of their own have booted ones.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from tests.warm_python import serve; serve(int(sys.argv[1]), sys.argv[3])"
)
#: Descriptors of a new process lie below.
_BEYOND = 500
_SIZE = 4
#: Bytes of a request at most.
_MAX_REQUEST = 1 << 17


class WarmPython:
    """A process that runs code in forks of itself, from when it is first needed.

    Args:
        preload: Python statements that import modules.
        control: The socket to a running one; by default, one is started.
    """

    def __init__(self, preload: str = "", control: socket.socket | None = None) -> None:
        self._preload = preload
        self._lock = threading.Lock()
        self._control = control
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def control(self) -> socket.socket:
        """Where it takes requests; processes that inherit the descriptor may send some, too."""
        with self._lock:
            if self._control is None:
                self._control = self._launch()
        return self._control

    def start(
        self,
        arguments: Sequence[str],
        pass_fds: Sequence[int],
        streams: tuple[int, int, int],
        env: dict[str, str] | None = None,
    ) -> ForkedProcess:
        """Run code as ``python -P -c`` does, in a session of its own.

        Args:
            arguments: The code, and arguments for it.
            pass_fds: Descriptors that it has under the same numbers.
            streams: Its standard input, output and error.
            env: Its environment variables; by default those of this process.
        """
        status, status_end = os.pipe()
        given = (status_end, *streams, *pass_fds)
        request = pickle.dumps((arguments, pass_fds, dict(env or os.environ), os.getcwd()))
        try:
            socket.send_fds(self.control, [request], given)
        finally:
            os.close(status_end)
        return ForkedProcess(int.from_bytes(os.read(status, _SIZE)), status)

    def close(self) -> None:
        """End the process."""
        if self._control is not None and self._process is not None:
            self._control.shutdown(socket.SHUT_RDWR)  # others may have it, too
            self._control.close()
            self._process.wait()
            self._control = None

    def _launch(self) -> socket.socket:
        # Each request is a message, so that several processes can send theirs.
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            arguments = [str(theirs.fileno()), json.dumps(sys.path), self._preload]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return ours


class ForkedProcess:
    """What `subprocess.Popen` is for a process that it has started.

    Args:
        pid: Id of the process.
        status: Pipe from which its exit status can be read once it has ended.
    """

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        with self._lock:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
                said = os.read(self._status, 10)
                os.close(self._status)
                self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve(control_fd: int, preload: str) -> None:
    """Fork for each request, until the connection ends."""
    exec(preload, {})
    gc.freeze()
    control = socket.socket(fileno=control_fd)
    children: dict[int, int] = {}
    wakeup, wakeup_end = os.pipe()
    for descriptor in (wakeup, wakeup_end):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wakeup_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([control, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    end = children.pop(pid)
                    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                        os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
                    os.close(end)
        if control in ready:
            body, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST, 20)
            if not body:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                _run(body, descriptors[1:])
            status_end, *others = descriptors
            children[pid] = status_end
            for descriptor in others:
                os.close(descriptor)
            with contextlib.suppress(BrokenPipeError):
                os.write(status_end, pid.to_bytes(_SIZE))


def _run(body: bytes, descriptors: list[int]) -> NoReturn:
    import fcntl

    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        (statements, *arguments), wanted, environment, directory = pickle.loads(body)
        far = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _BEYOND) for descriptor in descriptors]
        os.closerange(3, _BEYOND)
        for descriptor, number in zip(far, (0, 1, 2, *wanted), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.setsid()
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [place for place in places if place and place not in sys.path]
        tempfile.tempdir = None  # TMPDIR may be another one
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # Python does not
        sys.argv[:] = ["-c", *arguments]
        exec(statements, {"__name__": "__main__"})
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


#: Module that a helper process is made of: what to import beforehand, besides it.
_HELPERS = {
    "prefect_tune.execution.trial.zygote": (
        "from prefect_tune.execution.trial.native_threads import limit_to_one; limit_to_one(); "
        "import prefect_tune.trainable.runner, prefect_tune.trainable.shipping.packing; "
        # What most modules with trainables of tests import.
        "import pytest, prefect_tune.tune_run, tests.integration.trainables"
    ),
    "prefect_tune.execution.checkpoints.upload_process": "import s3fs",
}


_warm = {module: WarmPython(f"{preload}; import {module}") for module, preload in _HELPERS.items()}


@contextlib.contextmanager
def start_helpers_warm() -> Iterator[None]:
    """Fork the helper processes of agents in this process inside."""
    from prefect_tune.execution.launch import helper_process

    plain = helper_process.subprocess
    _fork_helpers(_warm)
    try:
        yield
    finally:
        helper_process.subprocess = plain  # type: ignore[attr-defined]
        for python in _warm.values():
            python.close()


def controls_of_helpers() -> dict[str, int]:
    """Descriptors for a process that is to call `share_helpers`."""
    return {module: python.control.fileno() for module, python in _warm.items()}


def share_helpers(controls: dict[str, int]) -> None:
    """Fork the helper processes of agents in this process from those of another one's."""
    _fork_helpers({m: WarmPython(control=socket.socket(fileno=fd)) for m, fd in controls.items()})


def _fork_helpers(warm: dict[str, WarmPython]) -> None:
    from prefect_tune.execution.launch import helper_process

    def popen(command: list[str], **options: Any) -> Any:
        for module, python in warm.items():
            if f"from {module} import main" in command[3]:
                with open(os.devnull) as nothing:
                    return python.start(command[3:], options["pass_fds"], (nothing.fileno(), 1, 2))
        return subprocess.Popen(command, **options)  # a stand-in of a test

    # The name there, not the function of `subprocess`, which others use.
    helper_process.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
        Popen=popen, DEVNULL=subprocess.DEVNULL
    )
