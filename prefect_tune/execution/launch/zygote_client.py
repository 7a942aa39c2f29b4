"""`ZygoteClient`: the agent's connection to a zygote."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from typing_extensions import override

from prefect_tune.execution.launch.helper_process import HelperProcess
from prefect_tune.execution.protocol.zygote_messages import ExitStatus, Message, Refusal

_MAIN = (
    "from prefect_tune.execution.trial.native_threads import limit_to_one; "
    "before = limit_to_one(); "
    "from prefect_tune.execution.trial.zygote import main; main(int(sys.argv[1]), before)"
)


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
            Message.START, payload, (descriptor,)
        )
        return started

    @override
    def on_message(self, message: int, payload: Any) -> Any:
        if message == Message.EXITED:
            pid, status = payload
            # The system may reuse the id, so an ended process is removed at once.
            _resolve(self._exits.pop(pid), status)
        elif message == Message.STARTED:
            # Registered before the requester wakes up: the exit may follow in the same read.
            exited = asyncio.get_running_loop().create_future()
            self._exits[payload] = exited
            return payload, exited
        elif message == Message.REFUSED:
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
