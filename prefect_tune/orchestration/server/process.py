"""Runs the embedded Prefect server: `python -m prefect_tune.orchestration.server.process`.

It serves the API and the UI on a socket that its starter has bound, so that no other process can
take the port. Every process that uses it keeps a connection to its control socket, over which the
server says when it is ready. When the last connection is closed, which the kernel does however a
process ends, the server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from prefect.server.api.server import create_app

from prefect_tune.orchestration.server.directory import ServerDirectory
from prefect_tune.orchestration.server.embedded import LONGEST_END

READY = b"ready"
_SHUTDOWN_SECONDS = 5
_NICENESS = 5


class _SharedServer(uvicorn.Server):
    """Server that tells its users when it is ready, and ends after the last of them."""

    def __init__(
        self, config: uvicorn.Config, control: socket.socket, directory: ServerDirectory
    ) -> None:
        super().__init__(config)
        control.setblocking(False)
        self._control = control
        self._directory = directory
        self._users: set[socket.socket] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            # The server must not take cores from the trials; it catches up later.
            os.nice(_NICENESS)
            asyncio.get_running_loop().add_reader(self._control, self._welcome)

    def _welcome(self) -> None:
        """Accept all new connections of users."""
        with contextlib.suppress(BlockingIOError):
            while True:
                user, _ = self._control.accept()
                user.setblocking(False)
                self._users.add(user)
                # Users send nothing, so a readable socket means that the user has gone.
                asyncio.get_running_loop().add_reader(user, self._leave, user)
                with contextlib.suppress(OSError):
                    user.send(READY)

    def _leave(self, user: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(user)
        if self._is_last():
            loop.remove_reader(self._control)
            self._control.close()
            signal.alarm(LONGEST_END)
            self.should_exit = True
            return  # `user` waits until its connection ends with this process
        self._users.remove(user)
        user.close()

    def _is_last(self) -> bool:
        """Return True if there is no other user; then nobody can join any more."""
        if len(self._users) > 1:
            return False
        with contextlib.suppress(OSError), self._directory.locked():  # the home may be gone
            self._welcome()  # users that have joined before the lock was taken
            if len(self._users) == 1:
                self._directory.withdraw()
        return len(self._users) == 1


def main(directory: str, listener_fd: int, control_fd: int) -> None:
    """Serve as long as there are users.

    Args:
        directory: Directory in which the server is announced.
        listener_fd: A bound and listening socket for the API.
        control_fd: A bound and listening socket for the users.
    """
    shared = ServerDirectory(Path(directory))
    with shared.alone():
        config = uvicorn.Config(
            create_app(final=True),
            log_level="error",
            lifespan="on",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        server = _SharedServer(config, socket.socket(fileno=control_fd), shared)
        server.run(sockets=[socket.socket(fileno=listener_fd)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
