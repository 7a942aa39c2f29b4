"""Starts Python processes as forks of one that has imported what they import: it saves CPU time.

The code that they run, their environment and descriptors are those of a booted process. Tests that
run scripts or workers in processes of their own have booted ones.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
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
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from tests.warm_python import serve; serve(int(sys.argv[1]), int(sys.argv[3]), sys.argv[4])"
)
#: Process whose end ends the warm ones: that of the tests, or the one that controls several.
_OWNER = "PREFECT_TUNE_TESTS_PID"
os.environ.setdefault(_OWNER, str(os.getpid()))
#: Descriptors of a new process lie below.
_BEYOND = 500
_SIZE = 4
#: Bytes of a request at most.
_MAX_REQUEST = 1 << 17


class WarmPython:
    """A process that runs code in forks of itself, from when it is first needed.

    All processes of one run of the tests that need the same one share it.

    Args:
        preload: Python statements that import modules.
    """

    def __init__(self, preload: str) -> None:
        self._preload = preload
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._pid = 0

    def start(
        self,
        arguments: Sequence[str],
        pass_fds: Sequence[int],
        streams: tuple[int, int, int],
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> ForkedProcess:
        """Run code as ``python -P -c`` does, in a session of its own.

        Args:
            arguments: The code, and arguments for it.
            pass_fds: Descriptors that it has under the same numbers.
            streams: Its standard input, output and error.
            env: Its environment variables; by default those of this process.
            cwd: Its working directory; by default that of this process.
        """
        status, status_end = os.pipe()
        given = (status_end, *streams, *pass_fds)
        where = os.fspath(cwd or os.getcwd())
        request = pickle.dumps((arguments, pass_fds, dict(env or os.environ), where))
        try:
            with self._lock:
                socket.send_fds(self._connected(), [request], given)
        finally:
            os.close(status_end)
        return ForkedProcess(int.from_bytes(os.read(status, _SIZE)), status)

    def _connected(self) -> socket.socket:
        """Return the connection of this process to the warm one, which is started if need be."""
        if self._control is None or self._pid != os.getpid():
            owner = os.environ[_OWNER]
            key = hashlib.sha256(self._preload.encode()).hexdigest()[:20]
            # Each request is a message. The name is one of Linux, and no file.
            address = f"\0prefect_tune tests {owner} {key}"
            self._control, self._pid = (
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
                os.getpid(),
            )
            while True:
                try:
                    self._control.connect(address)
                    break
                except ConnectionRefusedError:
                    self._launch(address, owner)
        return self._control

    def _launch(self, address: str, owner: str) -> None:
        """Start the warm process, unless another process starts it at this moment."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                listener.bind(address)
            except OSError:
                return
            listener.listen(64)
            arguments = [str(listener.fileno()), json.dumps(sys.path), owner, self._preload]
            subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, *arguments],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


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


def serve(listener_fd: int, owner: int, preload: str) -> None:
    """Fork for each request, until the owner has ended."""
    exec(preload, {})
    gc.freeze()
    try:
        ended = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    listener = socket.socket(fileno=listener_fd)
    controls: list[socket.socket] = []
    children: dict[int, int] = {}
    wakeup, wakeup_end = os.pipe()
    for descriptor in (wakeup, wakeup_end):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wakeup_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([ended, listener, wakeup, *controls], [], [])
        if ended in ready:
            os._exit(0)
        if listener in ready:
            controls.append(listener.accept()[0])
        if wakeup in ready:
            os.read(wakeup, 4096)
            for pid in list(children):
                child, status = os.waitpid(pid, os.WNOHANG)
                if child:
                    end = children.pop(pid)
                    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                        os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
                    os.close(end)
        for control in [control for control in controls if control in ready]:
            body, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST, 20)
            if not body:
                controls.remove(control)
                control.close()
                continue
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

    def popen(command: list[str], **options: Any) -> Any:
        for module, python in _warm.items():
            if f"from {module} import main" in command[3]:
                with open(os.devnull) as nothing:
                    return python.start(command[3:], options["pass_fds"], (nothing.fileno(), 1, 2))
        return subprocess.Popen(command, **options)  # a stand-in of a test

    # The name there, not the function of `subprocess`, which others use.
    helper_process.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
        Popen=popen, DEVNULL=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        helper_process.subprocess = plain  # type: ignore[attr-defined]


#: What runs the embedded servers of `start_servers_warm`.
_SERVER = "prefect_tune.orchestration.server.process"
_warm_server = WarmPython(f"import {_SERVER}")


@contextlib.contextmanager
def start_servers_warm() -> Iterator[None]:
    """Fork the embedded Prefect servers of this process inside: most of a start are imports."""
    from prefect_tune.orchestration.server import embedded

    plain = embedded.subprocess

    def popen(
        command: list[str], *, stdout: Any, pass_fds: Sequence[int], env: Any, **_: Any
    ) -> Any:
        code = (
            "import sys; from prefect.context import refresh_global_settings_context; "
            f"refresh_global_settings_context(); from {_SERVER} import main; "
            "main(sys.argv[1], *map(int, sys.argv[2:]))"
        )
        with open(os.devnull) as nothing:
            streams = (nothing.fileno(), stdout.fileno(), stdout.fileno())
            return _warm_server.start([code, *command[3:]], pass_fds, streams, env)

    embedded.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
        Popen=popen, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT
    )
    try:
        yield
    finally:
        embedded.subprocess = plain  # type: ignore[attr-defined]
