"""`AttemptSpawner`: starts attempts on a node, as forked or spawned processes or as threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from prefect_tune.error import ClusterError, InvalidTrainable
from prefect_tune.execution.launch.handle import AttemptHandle, start_thread
from prefect_tune.execution.launch.helper_process import HelperGone, ZygoteClient
from prefect_tune.execution.protocol.frames import FrameKind, encode
from prefect_tune.execution.protocol.helper_messages import (
    ExitCode,
    HelperMessage,
    LoadInfo,
    LoadRequest,
    Refused,
    StartRequest,
)
from prefect_tune.execution.trial.native_threads import with_sister_variables
from prefect_tune.trainable.runtime.attempt import AttemptContext
from prefect_tune.trainable.shipping.large_data import DataFile
from prefect_tune.trainable.shipping.packing import TrainableSource, load_trainable

_logger = logging.getLogger(__name__)
PROCESS = "process"
THREAD = "thread"
#: Seconds that user code's `cleanup` may take when a process is ended.
CLEANUP_S = 10.0


class DataGone(ClusterError):
    """Error for a node that needs the trainable's data again before it can start attempts."""


@dataclass(frozen=True, slots=True, eq=False)
class _TrialProcess:
    """Started process of an attempt.

    Attributes:
        sock: The agent's end of the connection.
        pid: Id of the process.
        exited: Resolves when the process has ended.
        env: The environment variables that it was started with. It reads some only once, such as
            those that select GPUs.
    """

    sock: socket.socket
    pid: int
    exited: asyncio.Future[ExitCode]
    env: Mapping[str, str]


class AttemptSpawner:
    """Starts the attempts of one experiment on this node.

    All methods must be called in one event loop; none of them blocks it.

    Args:
        zygote: A zygote, which boots before the trainable is known; None starts one.
    """

    def __init__(self, zygote: ZygoteClient | None = None) -> None:
        self._zygote = zygote or ZygoteClient()
        self._request: LoadRequest | None = None
        self._trainable: Any = None
        self._restarting = asyncio.Lock()
        #: Processes that wait for another attempt (`reuse_actors`).
        self._idle: list[_TrialProcess] = []
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    async def load(
        self, source: TrainableSource, start_method: str = "auto", isolation: str = PROCESS
    ) -> LoadInfo:
        """Import the trainable on this node.

        Args:
            source: The pickled trainable.
            start_method: ``auto``, ``fork`` or ``spawn``.
            isolation: ``process``, or ``thread`` to import it into this process.

        Returns:
            The method by which attempts will be started.

        Raises:
            InvalidTrainable: If the trainable cannot be loaded; the message names module and node.
            ClusterError: If the zygote died.
        """
        self._request = LoadRequest(source, start_method)
        if isolation == THREAD:
            try:
                self._trainable = await asyncio.to_thread(load_trainable, source)
            except Exception as error:
                raise _cannot_load(source, Refused.of(error)) from error
            return LoadInfo(THREAD)
        info = await self._load_zygote(self._request)
        if info.method == "fork" and isinstance(source.data, DataFile):
            source.data.close()  # the zygote has a copy now
        return info

    async def spawn(
        self,
        context: AttemptContext,
        stdout: str | Path,
        stderr: str | Path,
        isolation: str = PROCESS,
        reuse: bool = False,
        copy_output: bool = False,
    ) -> AttemptHandle:
        """Start an attempt.

        Args:
            context: Context of the attempt, whose `trial_dir` exists.
            stdout: File that standard output is appended to.
            stderr: File that standard error is appended to; may be the same file.
            isolation: ``process`` or ``thread``, as given to `load`.
            reuse: True if its process may have run another attempt before, and may run another
                one after it (processes only).
            copy_output: True to copy the output of a thread to the files, besides the console. A
                process always writes to the files only.

        Raises:
            ClusterError: If it cannot be started.
        """
        if isolation == THREAD:
            ours, theirs = _connection()
            files = (stdout, stderr) if copy_output else None
            ended = start_thread(context, self._trainable, theirs, files)
            return AttemptHandle(ours, os.getpid(), ended, None)
        request = StartRequest(
            # cloudpickle, because objects of the main script must be pickled by value.
            context=cloudpickle.dumps(context),
            env=with_sister_variables(context.env),
            stdout=os.path.abspath(stdout),
            stderr=os.path.abspath(stderr),
            title=context.launch.trial_id,
            reuse=reuse,
        )
        reused = await self._reuse_idle(request) if reuse else None
        process = reused or await self._start_new(request)
        keep = functools.partial(self._idle.append, process) if reuse else None
        return AttemptHandle(process.sock, process.pid, process.exited, request.stderr, keep)

    async def spawn_call(
        self, call: bytes, env: dict[str, str], stdout: Path, stderr: Path, title: str
    ) -> AttemptHandle:
        """Start a function in a bundle of a trial; arguments as of `StartRequest`.

        Raises:
            ClusterError: If it cannot be started.
        """
        paths = str(stdout), str(stderr)
        request = StartRequest(call, with_sister_variables(env), *paths, title, is_call=True)
        process = await self._start_new(request)
        return AttemptHandle(process.sock, process.pid, process.exited, request.stderr)

    def close(self) -> None:
        """End the zygote and every attempt that still runs as a process.

        Processes that wait for another attempt may clean up first, for `CLEANUP_S` seconds.
        """
        if self._closed:
            return
        self._closed = True
        if self._idle:
            self._closing = asyncio.get_running_loop().create_task(self._close_idle())
        else:
            self._zygote.close()

    async def wait_closed(self) -> None:
        """Wait until the processes that `close` ends have ended."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close_idle(self) -> None:
        exits = [process.exited for process in self._idle]
        try:
            for process in list(self._idle):
                self._end_idle(process)
            if exits:
                await asyncio.wait(exits, timeout=CLEANUP_S)
        finally:
            self._zygote.close()

    def _end_idle(self, process: _TrialProcess) -> None:
        self._idle.remove(process)
        # The process ends when its connection is closed.
        with contextlib.suppress(OSError):
            process.sock.shutdown(socket.SHUT_RDWR)
        process.sock.close()

    def _pop_idle(self, env: Mapping[str, str]) -> _TrialProcess | None:
        """Return an idle process with these environment variables; None if there is none.

        If only others are idle, the one that has waited longest is ended, so that its resources (a
        model in memory, a GPU) are free for the new process.
        """
        for process in list(self._idle):
            if process.exited.done():
                self._end_idle(process)
        for process in reversed(self._idle):
            if process.env == env:
                self._idle.remove(process)
                return process
        if self._idle:
            self._end_idle(self._idle[0])
        return None

    async def _reuse_idle(self, request: StartRequest) -> _TrialProcess | None:
        """Send the attempt to an idle process and return it; None if there is none."""
        while (process := self._pop_idle(request.env)) is not None:
            frame = encode(FrameKind.NEXT, 0, pickle.dumps(request))
            try:
                await asyncio.get_running_loop().sock_sendall(process.sock, frame)
            except OSError:  # the process has died meanwhile
                process.sock.close()
            else:
                return process
        return None

    async def _start_new(self, request: StartRequest) -> _TrialProcess:
        ours, theirs = _connection()
        try:
            with theirs:
                try:
                    zygote = await self._living_zygote()
                    pid, exited = await zygote.start(request, theirs.fileno())
                except ClusterError:  # it has died
                    if self._closed:
                        raise
                    zygote = await self._living_zygote()
                    pid, exited = await zygote.start(request, theirs.fileno())
        except BaseException as error:
            ours.close()
            if isinstance(error, Refused):
                raise ClusterError(
                    f"cannot start a trial process on {socket.gethostname()}: {error}"
                ) from error
            raise
        return _TrialProcess(ours, pid, exited, request.env)

    async def _living_zygote(self) -> ZygoteClient:
        """Return the zygote; start and load a new one if it has died."""
        async with self._restarting:
            if self._closed or self._request is None:
                raise ClusterError("the attempts of this experiment on this node are closed")
            if not self._zygote.alive:
                data = self._request.source.data
                if isinstance(data, DataFile) and not data.is_here:
                    raise DataGone("the process that starts trials has died with their data")
                await self._load_zygote(self._request)
            return self._zygote

    async def _load_zygote(self, request: LoadRequest) -> LoadInfo:
        if not self._zygote.alive:
            self._zygote = ZygoteClient()
        try:
            try:
                info: LoadInfo = await self._zygote.request(HelperMessage.LOAD, request)
            except HelperGone:
                if self._closed:
                    raise
                # Killed, mostly because memory ran out. If importing the trainable ends the
                # process, it does so again.
                self._zygote = ZygoteClient()
                info = await self._zygote.request(HelperMessage.LOAD, request)
        except Refused as error:
            raise _cannot_load(request.source, error) from error
        return info


def _connection() -> tuple[socket.socket, socket.socket]:
    """Return a connected pair of sockets: the agent's, which is non-blocking, and the trial's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def _cannot_load(source: TrainableSource, refused: Refused) -> InvalidTrainable:
    if refused.module is not None:
        problem = f"there is no module named {refused.module!r}; {refused.searched}."
        hint = (
            "Install it on every node. Of modules beside the script the source goes along, if "
            "together they have no more than 4 MiB."
        )
    else:
        problem = f"{refused.kind}: {refused.message}."
        hint = f"Importing its module has to work on every node.\n{refused.traceback}"
    return InvalidTrainable(
        "trainable",
        f"{source.name} (from module {source.module}) cannot be loaded on node "
        f"{socket.gethostname()}: {problem}",
        hint,
    )
