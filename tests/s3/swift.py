"""OpenStack Swift with its S3 layer, from the distribution's packages, in user space.

Stricter and less complete than AWS: it checks signatures, demands Content-MD5 for bulk deletion,
knows fewer calls, and answers a HEAD for what is not there in a way that spoils the connection.
So it stands for the S3 implementations in the field that are not AWS.
"""

from __future__ import annotations

import contextlib
import getpass
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .endpoint import Endpoint

_STORES = ("account", "container", "object")
_PROXY = "proxy"
#: Debian packages that hold the servers.
PACKAGES = "swift-proxy swift-account swift-container swift-object"
_START_TIMEOUT_S = 60

_FILTERS = {
    "catch_errors": {},
    "cache": {"use": "egg:swift#memcache"},
    "s3api": {"location": "us-east-1", "s3_acl": "false"},
    "tempauth": {"user_test_tester": "testing .admin"},
    "copy": {},
    "slo": {},
    "dlo": {},
    "versioned_writes": {},
}


def why_not(directory: Path) -> str:
    """Why Swift cannot run here with its data in `directory`; empty if it can."""
    missing = [name for name in (*_STORES, _PROXY) if not shutil.which(f"swift-{name}-server")]
    if missing or not shutil.which("swift-ring-builder"):
        return f"Swift is not installed (apt-get install {PACKAGES})"
    if not os.access("/etc/swift/swift.conf", os.R_OK):
        return "Swift's hash settings in /etc/swift/swift.conf cannot be read"
    try:
        os.setxattr(directory, "user.prefect_tune", b"1")
    except OSError as error:
        return f"Swift needs user extended attributes, and {directory} has none ({error})"
    return ""


@contextlib.contextmanager
def swift_process(directory: Path) -> Iterator[Endpoint]:
    """Swift's four servers on free ports of the loopback interface.

    Args:
        directory: Takes configuration, rings, logs and data.

    Raises:
        RuntimeError: If they do not come up, with where their logs are.
    """
    ports = dict(zip((*_STORES, _PROXY), _free_ports(len(_STORES) + 2), strict=False))
    (directory / "srv" / "d1").mkdir(parents=True)
    for name in _STORES:
        _make_ring(directory, name, ports[name])
        _write(directory, name, _store_config(directory, name, ports[name]))
    _write(directory, _PROXY, _proxy_config(directory, ports[_PROXY]))
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for name in ports:
            with (directory / f"{name}.log").open("wb") as log:
                servers.append(
                    subprocess.Popen(
                        [f"swift-{name}-server", f"{name}-server.conf"],
                        cwd=directory,
                        env={**_system_environ(), "SWIFT_DIR": str(directory)},
                        stdout=log,
                        stderr=log,
                    )
                )
        _wait_up(ports[_PROXY], servers, directory)
        yield Endpoint(f"http://127.0.0.1:{ports[_PROXY]}", "test:tester", "testing", "us-east-1")
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _system_environ() -> dict[str, str]:
    # The servers run with the distribution's Python, whatever this process runs with.
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }


def _make_ring(directory: Path, name: str, port: int) -> None:
    builder = f"{name}.builder"
    for arguments in (
        ("create", "6", "1", "1"),
        ("add", f"r1z1-127.0.0.1:{port}/d1", "100"),
        ("rebalance",),
    ):
        subprocess.run(
            ["swift-ring-builder", builder, *arguments],
            cwd=directory,
            env=_system_environ(),
            check=True,
            capture_output=True,
        )


def _default(directory: Path, port: int) -> dict[str, str]:
    return {
        "bind_ip": "127.0.0.1",
        "bind_port": str(port),
        "swift_dir": str(directory),
        "user": getpass.getuser(),
        "workers": "0",
        "log_level": "ERROR",
    }


def _store_config(directory: Path, name: str, port: int) -> dict[str, dict[str, str]]:
    devices = {"devices": str(directory / "srv"), "mount_check": "false"}
    return {
        "DEFAULT": {**_default(directory, port), **devices},
        "pipeline:main": {"pipeline": f"{name}-server"},
        f"app:{name}-server": {"use": f"egg:swift#{name}"},
    }


def _proxy_config(directory: Path, port: int) -> dict[str, dict[str, str]]:
    sections = {
        "DEFAULT": _default(directory, port),
        "pipeline:main": {"pipeline": " ".join((*_FILTERS, "proxy-server"))},
        "app:proxy-server": {
            "use": "egg:swift#proxy",
            "account_autocreate": "true",
            "allow_account_management": "true",
        },
    }
    for name, options in _FILTERS.items():
        sections[f"filter:{name}"] = {"use": f"egg:swift#{name}", **options}
    # No memcached runs there; Swift then keeps nothing and asks its servers each time.
    sections["filter:cache"]["memcache_servers"] = f"127.0.0.1:{_free_ports(1)[0]}"
    return sections


def _write(directory: Path, name: str, sections: dict[str, dict[str, str]]) -> None:
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items())]
    (directory / f"{name}-server.conf").write_text("\n".join(lines) + "\n")


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _wait_up(port: int, servers: list[subprocess.Popen[bytes]], directory: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and all(server.poll() is None for server in servers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse()
            return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"Swift did not come up; see the logs in {directory}")
