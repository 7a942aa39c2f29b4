"""All that the runs of one worker of the harness share."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.s3.endpoint import Bucket, fresh_bucket
from tests.s3.fault_proxy import FaultProxy, running_proxy
from tests.s3.moto_process import moto_process

from .scenario import APART, INSIDE, S3, Scenario
from .services import DaskCluster, PrefectServer

ROOT = Path(__file__).parents[2]
#: Seconds after which a node ends the trials of a flow process that is silent.
LEASE_S = 3.0
_DISK_BYTES = 64 * 1024 * 1024


class World:
    """Starts what a run needs when the first run needs it; ends all of it at the end.

    Args:
        directory: Takes everything that is written.

    Attributes:
        stopping: Set if runs are to end now.
    """

    def __init__(self, directory: Path, stopping: threading.Event) -> None:
        self.stopping = stopping
        self.directory = directory
        self.results = directory / "results"
        self.results.mkdir(parents=True)
        self._exit = ExitStack()
        self._proxy: FaultProxy | None = None
        self._clusters: dict[str, DaskCluster] = {}
        self._prefect: PrefectServer | None = None

    def close(self) -> None:
        """End all processes."""
        self._exit.close()

    @property
    def proxy(self) -> FaultProxy:
        """The road to S3; moto runs behind it."""
        if self._proxy is None:
            endpoint = self._exit.enter_context(moto_process())
            self._proxy = self._exit.enter_context(running_proxy(endpoint))
        return self._proxy

    @contextlib.contextmanager
    def bucket(self) -> Iterator[Bucket]:
        """A fresh bucket, as seen past the proxy."""
        with fresh_bucket(self.proxy.upstream) as bucket:
            yield bucket

    def prefect(self) -> PrefectServer:
        """A running Prefect server."""
        if self._prefect is None:
            self._prefect = PrefectServer(self._environ(), self.directory)
            self._exit.callback(self._prefect.stop)
        self._prefect.start()
        return self._prefect

    def cluster(self, scenario: Scenario) -> DaskCluster | None:
        """The cluster of a run; None if it is to start one itself."""
        if scenario.cluster == INSIDE:
            return None
        key = f"{scenario.cluster}-{scenario.storage}"
        if key not in self._clusters:
            hidden = self.results if scenario.cluster == APART else None
            directory = self.directory / f"cluster-{key}"
            directory.mkdir()
            cluster = DaskCluster(self.environ(scenario), directory, hidden)
            self._clusters[key] = cluster
            self._exit.callback(cluster.stop)
        self._clusters[key].start()
        return self._clusters[key]

    def environ(self, scenario: Scenario) -> dict[str, str]:
        """Environment of a run's processes."""
        environ = self._environ()
        if scenario.storage == S3:
            environ |= self.proxy.endpoint.environ
        return environ

    def _environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "AWS_"))}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PYTHONUNBUFFERED": "1",
            "PREFECT_HOME": str(self.directory / "prefect"),
            "PREFECT_TUNE_LEASE_S": str(LEASE_S),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "DO_NOT_TRACK": "1",
        }


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 64 MB at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(path)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def can_have_small_disks() -> bool:
    """Whether this user may mount a file system where all processes see it."""
    probe = ["unshare", "--mount", "--propagation", "private", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, check=False).returncode == 0
