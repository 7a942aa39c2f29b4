"""moto's S3 server as a process: prints its port, runs until its standard input is closed.

It listens on loopback, or at the address that it is given.
"""

from __future__ import annotations

import logging
import os
import sys

#: How many files a listing has; S3 has 1,000, which take long to write.
LISTING = 50


def main() -> None:
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(LISTING)
    from moto import backends
    from moto.server import ThreadedMotoServer

    # It looks for its services on the disk at each request, which takes half of the time.
    services = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=[*sys.argv, "127.0.0.1"][1], port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    print(port, flush=True)
    # The pipe closes when the process that holds its other end dies, in whatever way.
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
