"""A sweep on several hosts beside the same on one, and how soon lost trials run again.

The hosts are network namespaces of this machine, so they share its cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.sleeping_trials import sleeping
from benchmarks.subject import Values, percentile, sleeping_values
from prefect_tune import Checkpoint
from tests.network_hosts import Hosts

HERE = "10.213.7.250"
"""Address of this process on the network of the hosts."""


@contextmanager
def cluster(hosts: int, slots: int) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A Dask scheduler on a host of its own and a worker on each of the others."""
    with tempfile.TemporaryDirectory() as directory:
        network = Hosts(f"pb{os.getpid() % 10000}", Path(directory))
        try:
            network.join(HERE)
            address = network.add("scheduler")
            network.start(
                "scheduler", "-m", "dask", "scheduler", "--no-dashboard", "--host", address
            )
            scheduler = f"tcp://{address}:8786"
            workers = []
            for number in range(hosts):
                network.add(f"host{number}")
                arguments = ("--no-nanny", "--resources", f"CPU={slots}")
                # They see this process's files, as hosts with a shared file system do.
                apart = {"PREFECT_TUNE_SHARED_DIRECTORY": "0"}
                worker = network.worker(f"host{number}", scheduler, *arguments, **apart)
                workers.append(worker)
            with Client(scheduler, timeout=60, set_as_default=False) as client:
                client.wait_for_workers(hosts, timeout=120)
            yield scheduler, workers
        finally:
            network.close()


def measure(*, hosts: int, slots: int, trials: int, seconds: float = 0.0) -> Values:
    """Time trials that sleep and report once, or without `seconds` the loss of a host."""
    with cluster(hosts, slots) as (scheduler, workers):
        options = {"cluster": scheduler, "orchestrate": False, "verbose": 0}
        if not seconds:
            return _lose(workers[0], trials, options)
        for count, length in ((hosts * slots, 0.0), (trials, seconds)):  # the first warms up
            began = time.perf_counter()
            tune.run(
                sleeping,
                num_samples=count,
                config={"x": tune.uniform(0, 1), "seconds": length},
                storage_path=tempfile.mkdtemp(),
                **options,
            )
            run_s = time.perf_counter() - began
    return sleeping_values(run_s, trials, hosts * slots, seconds)


def counting(config: dict[str, Any]) -> None:
    checkpoint = tune.get_checkpoint()
    n = checkpoint.to_dict()["n"] if checkpoint else 0
    while not os.path.exists(config["enough"]):
        n += 1
        time.sleep(0.1)
        tune.report({"n": n}, checkpoint=Checkpoint.from_dict({"n": n}))


class _Loss(tune.Callback):
    """Kills a worker once all trials have a checkpoint, and notes when those it had are back."""

    def __init__(self, worker: subprocess.Popen[str], trials: int, enough: Path) -> None:
        self._worker, self._trials, self._enough = worker, trials, enough
        self._pids: dict[str, int] = {}
        self._hosts: dict[str, str] = {}
        self._killed = 0.0
        self.seconds: list[float] = []

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        known = self._pids.setdefault(trial.trial_id, result["pid"])
        self._hosts.setdefault(trial.trial_id, result["node_ip"])
        if self._killed and result["pid"] != known:
            self._pids[trial.trial_id] = result["pid"]
            self.seconds.append(time.perf_counter() - self._killed)
        elif not self._killed and len(self._pids) == self._trials and result["n"] > 10:
            self._killed = time.perf_counter()
            self._worker.send_signal(signal.SIGKILL)
        if self._killed and len(self.seconds) == self._trials // len(set(self._hosts.values())):
            self._enough.touch()


def _lose(worker: subprocess.Popen[str], trials: int, options: dict[str, Any]) -> Values:
    enough = Path(tempfile.mkdtemp()) / "enough"
    loss = _Loss(worker, trials, enough)
    limit = threading.Timer(120, enough.touch)
    limit.start()
    tune.run(
        counting,
        num_samples=trials,
        config={"enough": str(enough)},
        resources_per_trial={"cpu": 0.5},
        storage_path=tempfile.mkdtemp(),
        callbacks=[loss],
        **options,
    )
    limit.cancel()
    return {"median_s": percentile(loss.seconds, 50), "longest_s": max(loss.seconds)}


def rows(bench: Bench) -> Iterator[Row]:
    trials = bench.size(320, quick=32)
    sizes = {"trials": trials, "seconds": 1.0}
    timeout_s = 300 + trials
    one = bench.ours("several_hosts", timeout_s=timeout_s, hosts=1, slots=8, **sizes)
    four = bench.ours("several_hosts", timeout_s=timeout_s, hosts=4, slots=2, **sizes)
    what = "trials of 1 s on 8 slots, over ideal"
    yield from compare(f"{what}, one host", "over_ideal_percent", "%", one, [])
    yield from compare(f"{what}, four hosts", "over_ideal_percent", "%", four, [])
    # Half the slots stay free, so that the lost trials find room at once.
    lost = bench.ours("several_hosts", hosts=4, slots=2, trials=8)
    what = "loss of a worker until its trials report again"
    yield from compare(f"{what}, median", "median_s", "s", lost, [])
    yield from compare(f"{what}, longest", "longest_s", "s", lost, [])
