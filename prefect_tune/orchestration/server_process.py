"""The embedded Prefect server's own process: `python -m prefect_tune.orchestration.server_process`.

It serves the API and the UI on a socket that its parent has bound already, so that no port can be
lost in between, says on a control socket when it is ready, and ends when the other end of that
control socket is closed, which the kernel does however the parent ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

READY = b"ready"
_SHUTDOWN_SECONDS = 5
_NICENESS = 5


class _TetheredServer(uvicorn.Server):
    """A server that tells its parent when it is up and does not outlive it."""

    def __init__(self, config: uvicorn.Config, control: socket.socket) -> None:
        super().__init__(config)
        self._control = control

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            asyncio.get_running_loop().add_reader(self._control, self._stop)
            # The record of trials must not take cores from the trials; it catches up.
            os.nice(_NICENESS)
            self._control.send(READY)

    def _stop(self) -> None:
        # Nothing is ever sent this way: readable means that the parent has gone.
        asyncio.get_running_loop().remove_reader(self._control)
        self.should_exit = True


def main(listener_fd: int, control_fd: int) -> None:
    """Serve until the control socket is closed.

    Args:
        listener_fd: A bound and listening socket.
        control_fd: Our end of the control socket.
    """
    config = uvicorn.Config(
        create_app(final=True),
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _TetheredServer(config, socket.socket(fileno=control_fd))
    server.run(sockets=[socket.socket(fileno=listener_fd)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
