"""The emulator of Google Cloud Storage as a process: prints its port, runs until stdin closes."""

from __future__ import annotations

import http.server
import logging
import socket
import sys


def main() -> None:
    from gcp_storage_emulator.server import create_server

    logging.disable(logging.CRITICAL)
    # It serves one connection after the other, and the usual queue of five is soon full.
    http.server.HTTPServer.request_queue_size = 128
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    print(port, flush=True)
    # The pipe closes when the process that holds its other end dies, in whatever way.
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
