"""Hosts on one machine: network namespaces with addresses and directories of their own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path


class Hosts:
    """Namespaces on one bridge."""

    def __init__(self, tag: str, directory: Path) -> None:
        self.tag = tag
        self.directory = directory
        self.names: list[str] = []
        self.processes: list[subprocess.Popen[str]] = []
        self._ip("link", "add", self.bridge, "type", "bridge")
        self._ip("link", "set", self.bridge, "up")

    @property
    def bridge(self) -> str:
        return f"{self.tag}b"

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    def join(self, address: str) -> None:
        """Let this process reach the hosts, and them this process at an address."""
        self._ip("addr", "add", f"{address}/24", "dev", self.bridge)

    def add(self, name: str) -> str:
        """Add a host; returns its address."""
        space, link = f"{self.tag}-{name}", f"{self.tag}{len(self.names)}"
        self._ip("netns", "add", space)
        self.names.append(name)
        address = self.address(name)
        self._ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("link", "set", link, "master", self.bridge, "up")
        for setting in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            self._ip("-n", space, *setting)
        self._ip("-n", space, "link", "set", "lo", "up")
        return address

    def address(self, name: str) -> str:
        return f"10.213.7.{self.names.index(name) + 1}"

    def cut(self, name: str, off: bool = True) -> None:
        """Take a host off the network, or bring it back."""
        link = f"{self.tag}{self.names.index(name)}"
        self._ip("link", "set", link, "down" if off else "up")

    def slow(self, name: str, rate: str) -> None:
        """Limit what a host sends and gets; what does not fit into a short queue is lost."""
        limit = ["root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms"]
        link = f"{self.tag}{self.names.index(name)}"
        for where in (["tc", "-n", f"{self.tag}-{name}"], ["tc"]):
            device = "eth0" if len(where) > 1 else link
            command = [*where, "qdisc", "replace", "dev", device, *limit]
            subprocess.run(command, check=True, capture_output=True, text=True)

    def block(self, source: str, target: str, port: int | None = None) -> None:
        """Drop what one host sends to another without a word, as a firewall does."""
        space, nowhere = f"{self.tag}-{source}", "10.213.7.254"
        link = ["lladdr", "02:00:00:00:00:01", "dev", "eth0"]
        self._ip("-n", space, "neigh", "replace", nowhere, *link)
        address = self.address(target)
        route = [f"{address}/32", "via", nowhere, "dev", "eth0", "table", "99"]
        self._ip("-n", space, "route", "replace", *route)
        ports = [] if port is None else ["ipproto", "tcp", "dport", str(port)]
        self._ip("-n", space, "rule", "add", "to", address, *ports, "lookup", "99")

    def start(
        self, name: str, *command: str, reads: bool = False, **variables: str
    ) -> subprocess.Popen[str]:
        """Run Python there, with a directory of its own, which the other hosts do not see."""
        homes = [self.directory / host for host in self.names]
        for home in homes:
            home.mkdir(exist_ok=True)
        home = self.directory / name
        others = shlex.join(f"{other}" for other in homes if other != home)
        hide = f'for other in {others}; do mount -t tmpfs none "$other"; done; exec "$@"'
        environment = {
            **os.environ,
            "HOME": str(home),
            "TMPDIR": str(home),
            "PTUNE_HOST": name,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PREFECT_TUNE_LEASE_S": "4",
            **variables,
        }
        space = ["ip", "netns", "exec", f"{self.tag}-{name}"]
        process = subprocess.Popen(
            # It also has mounts of its own then.
            [*space, "sh", "-c", hide, "sh", sys.executable, *command],
            cwd=home,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
            stderr=(home / f"{len(self.processes)}.log").open("w"),
        )
        self.processes.append(process)
        return process

    def worker(
        self, name: str, scheduler: str, *arguments: str, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a Dask worker with one thread."""
        command = ["-m", "dask", "worker", scheduler, "--no-dashboard", "--nthreads", "1"]
        return self.start(name, *command, *arguments, **variables)

    def kill(self, name: str) -> None:
        """Kill all that runs on a host."""
        space = f"{self.tag}-{name}"
        pids = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
        for pid in map(int, pids.stdout.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for name in self.names:
            self.kill(name)
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        for number, name in enumerate(self.names):
            # The kernel ends a namespace later, and its links with it.
            subprocess.run(["ip", "link", "del", f"{self.tag}{number}"], check=False)
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{name}"], check=False)
        subprocess.run(["ip", "link", "del", self.bridge], check=False)
