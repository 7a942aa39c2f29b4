"""Starts Python processes as forks of one that has imported what they import: it saves CPU time.

The code that they run, their environment and descriptors are those of a booted process. Tests of
how a process starts, of what it imports, or of whose descendant it is, boot theirs.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import gc
import hashlib
import json
import os
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import pytest

_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from tests.warm_python import serve; serve(int(sys.argv[1]), int(sys.argv[3]), sys.argv[4])"
)
#: Process whose end ends the warm ones: that of the tests, or the one that controls several.
_OWNER = os.environ.setdefault("PREFECT_TUNE_TESTS_PID", str(os.getpid()))
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

    def fork(
        self,
        arguments: Sequence[str],
        pass_fds: Sequence[int],
        streams: tuple[int, int, int],
        env: Mapping[str, str],
        cwd: str,
    ) -> tuple[int, int]:
        """Fork it to run code, a module or a script, in a session of its own.

        Args:
            arguments: What follows ``python -P`` on a command line.
            pass_fds: Descriptors that the new process has under the same numbers.
            streams: Its standard input, output and error.
            env: Its environment variables.
            cwd: Its working directory.

        Returns:
            Its id, and a pipe from which its exit status can be read once it has ended.
        """
        status, status_end = os.pipe()
        given = (status_end, *streams, *pass_fds)
        request = pickle.dumps((arguments, pass_fds, dict(env), cwd))
        try:
            with self._lock:
                socket.send_fds(self._connected(), [request], given)
        finally:
            os.close(status_end)
        pid = int.from_bytes(os.read(status, _SIZE))
        if not pid:
            raise RuntimeError(f"no process came of: {self._preload}")
        return pid, status

    def _connected(self) -> socket.socket:
        """Return the connection of this process to the warm one, which is started if need be."""
        if self._control is None or self._pid != os.getpid():
            key = hashlib.sha256(self._preload.encode()).hexdigest()[:20]
            # Each request is a message. The name is one of Linux, and no file.
            address = f"\0prefect_tune tests {_OWNER} {key}"
            control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            while control.connect_ex(address) == errno.ECONNREFUSED:
                self._launch(address)
            self._control, self._pid = control, os.getpid()
        return self._control

    def _launch(self, address: str) -> None:
        """Start the warm process, unless another process starts it at this moment."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                listener.bind(address)
            except OSError:
                return
            listener.listen(64)
            arguments = [str(listener.fileno()), json.dumps(sys.path), _OWNER, self._preload]
            subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, *arguments],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


class WarmPopen(subprocess.Popen[Any]):
    """`subprocess.Popen` of a Python process that is a fork of a warm one.

    Args:
        python: The warm one.
        command: ``[python, "-P", ...]``, what follows is as on a command line.
        **options: Those of `subprocess.Popen`, but for those of a session or group.
    """

    def __init__(self, python: WarmPython, command: Sequence[str], **options: Any) -> None:
        self._python = python
        super().__init__(command, **options)

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more):  # type: ignore[no-untyped-def]
        pipes = more[3:9]
        ours = [end if end >= 0 else number for number, end in enumerate(pipes[0:1] + pipes[3::2])]
        arguments = [argument for argument in args[1:] if argument not in ("-P", "-B")]
        self.pid, self._status = self._python.fork(
            arguments,
            tuple(pass_fds),
            tuple(ours),
            env or os.environ,
            os.fspath(cwd or os.getcwd()),
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        said = os.read(self._status, 10)
        os.close(self._status)
        return self.pid, int(said) if said else signal.SIGKILL

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        with self._waitpid_lock:
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
        return self.returncode


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
                        os.write(end, str(status).encode())
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
        arguments, wanted, environment, directory = pickle.loads(body)
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
        if "prefect.context" in sys.modules:
            sys.modules["prefect.context"].refresh_global_settings_context()
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # Python does not
        _execute(*arguments)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _execute(how: str, *arguments: str) -> None:
    """Run ``-c CODE``, ``-m MODULE`` or a script."""
    if how == "-m":
        sys.argv[:] = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv[:] = ["-c", *arguments[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(arguments[0], vars(main))
    else:
        sys.argv[:] = [how, *arguments]
        sys.path.insert(0, os.path.dirname(os.path.abspath(how)))
        runpy.run_path(how, run_name="__main__")


#: Module that a helper process is made of: what to import beforehand, besides it.
_HELPERS = {
    "prefect_tune.execution.trial.zygote": (
        "from prefect_tune.execution.trial.native_threads import limit_to_one; limit_to_one(); "
        "import prefect_tune.trainable.runner, prefect_tune.trainable.shipping.packing; "
        # What most modules with trainables of tests import.
        "import pytest, prefect_tune.tune_run, tests.integration.trainables"
    ),
    "prefect_tune.execution.checkpoints.transfer_process": "import s3fs",
}


_warm = {module: WarmPython(f"{preload}; import {module}") for module, preload in _HELPERS.items()}


def start_helpers_warm(patch: pytest.MonkeyPatch) -> None:
    """Fork the helper processes of agents in this process from now on."""
    from prefect_tune.execution.launch import helper_process

    def popen(command: list[str], **options: Any) -> Any:
        for module, python in _warm.items():
            if f"from {module} import main" in command[3]:
                return WarmPopen(python, command, **options)
        return subprocess.Popen(command, **options)  # a stand-in of a test

    _start_processes_by(popen, helper_process, patch)


_warm_server = WarmPython(
    "import uvicorn, prefect.server.api.server, prefect_tune.orchestration.server.embedded, "
    "prefect_tune.blocks"
)


def start_servers_warm(patch: pytest.MonkeyPatch) -> None:
    """Fork the embedded Prefect servers of this process: most of a start are imports."""
    from prefect_tune.orchestration.server import embedded

    _start_processes_by(functools.partial(WarmPopen, _warm_server), embedded, patch)


def _start_processes_by(
    popen: Callable[..., Any], module: ModuleType, patch: pytest.MonkeyPatch
) -> None:
    # The name there, not the function of `subprocess`, which others use.
    names = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    patch.setattr(module, "subprocess", names)


#: Statement of processes that are not those of pytest.
HELPERS_WARM = (
    "import pytest; from tests.warm_python import start_helpers_warm; "
    "start_helpers_warm(pytest.MonkeyPatch())"
)
_script = WarmPython(
    "import s3fs, prefect.flow_engine, prefect.task_engine, prefect.client.orchestration, "
    "prefect_tune.orchestration.record.experiment_flow, "
    f"prefect_tune.execution.driver.dask_executor, prefect_tune.tune_run; {HELPERS_WARM}"
)


def start_script(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a user's script that has imported Prefect and Dask; its helpers are forked, too.

    Args:
        command: As for `WarmPopen`.
        **options: Those of `subprocess.Popen`.
    """
    return WarmPopen(_script, command, **options)


def run_script(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a script as `start_script` does, to its end, and capture what it prints."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start_script(command, **pipes, **options) as process:
        out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
