"""`ZygoteClient`: the agent's connection to a zygote, which may be started in advance."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import Any

from typing_extensions import override

from prefect_tune.execution.launch.helper_process import HelperProcess
from prefect_tune.execution.protocol.helper_messages import ExitStatus, Refusal, ZygoteMessage

_MAIN = (
    "from prefect_tune.execution.trial.native_threads import limit_to_one; "
    "before = limit_to_one(); "
    "from prefect_tune.execution.trial.zygote import main; main(int(sys.argv[1]), before)"
)
_lock = threading.Lock()
#: Zygotes that were started in advance.
_ready: list[ZygoteClient] = []


class Refused(Exception):
    """Error for a request that the zygote has refused.

    Args:
        refusal: The reason.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(f"{refusal.kind}: {refusal.message}")


class ZygoteClient(HelperProcess):
    """Zygote process and the requests to it; its trial processes end with it."""

    def __init__(self) -> None:
        super().__init__("that starts trials", _MAIN)
        self._exits: dict[int, asyncio.Future[ExitStatus]] = {}

    async def start(
        self, payload: object, descriptor: int
    ) -> tuple[int, asyncio.Future[ExitStatus]]:
        """Start a trial process; return its id and a future with its exit status.

        Raises:
            Refused: If the trial process could not be started.
            HelperGone: If the zygote died.
        """
        started: tuple[int, asyncio.Future[ExitStatus]] = await self.request(
            ZygoteMessage.START, payload, (descriptor,)
        )
        return started

    @override
    def on_message(self, message: int, payload: Any) -> Any:
        if message == ZygoteMessage.EXITED:
            pid, status = payload
            # The system may reuse the id, so an ended process is removed at once.
            _resolve(self._exits.pop(pid), status)
        elif message == ZygoteMessage.STARTED:
            # Registered before the requester wakes up: the exit may follow in the same read.
            exited = asyncio.get_running_loop().create_future()
            self._exits[payload] = exited
            return payload, exited
        elif message == ZygoteMessage.REFUSED:
            raise Refused(payload)
        return payload

    @override
    def on_gone(self) -> None:
        # The trials end with the zygote, so their futures are resolved.
        for pid in self._exits:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for exited in self._exits.values():
            _resolve(exited, ExitStatus())  # only the zygote knew their exit status
        self._exits.clear()


def _resolve(exited: asyncio.Future[ExitStatus], status: ExitStatus) -> None:
    if not exited.done():
        exited.set_result(status)


def prestart_zygote() -> None:
    """Start a zygote for the next experiment of this process, unless there is one already."""
    with _lock:
        if not _ready:
            _ready.append(ZygoteClient())


def claim_zygote() -> ZygoteClient:
    """Return the zygote that was started in advance, or a new one."""
    with _lock:
        return _ready.pop() if _ready else ZygoteClient()


def discard_zygote() -> None:
    """End a zygote that was started in advance and not used."""
    with _lock:
        while _ready:
            _ready.pop().close()


def _clear_in_fork() -> None:
    """Drop the zygotes and the lock after a fork, because they belong to the parent."""
    global _lock
    _lock = threading.Lock()
    _ready.clear()


os.register_at_fork(after_in_child=_clear_in_fork)
