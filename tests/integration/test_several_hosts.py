"""A sweep on several hosts: network namespaces with addresses and directories of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DRIVER = """
import json, os, sys, time
import prefect_tune as tune
from prefect_tune import Checkpoint

def train(config):
    start = tune.get_checkpoint()
    n = start.to_dict()["n"] if start else 0
    while n < 30 or not os.path.exists(config["go"]):
        n += 1
        time.sleep(0.2)
        host = open("/proc/self/environ").read().split("PTUNE_HOST=")[1].split("\\0")[0]
        tune.report({"n": n, "host": host}, checkpoint=Checkpoint.from_dict({"n": n}))

def pair(config):
    workers = tune.trial_workers()
    said = [worker.start(host_of, worker.host).result(60) for worker in workers]
    tune.report(said=said)

def host_of(address):
    return address

if __name__ == "__main__":
    kind, scheduler, storage = sys.argv[1:]
    class Watch(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            print(json.dumps({"n": result.get("n"), "host": result.get("host")}), flush=True)
    options = dict(cluster=scheduler, orchestrate=False, storage_path=storage, callbacks=[Watch()],
                   name=kind, verbose=0)
    if kind == "pair":
        bundles = tune.PlacementGroupFactory([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
        result = tune.run(pair, resources_per_trial=bundles, **options)
    else:
        config = {"go": storage + "/go"}
        result = tune.run(train, config=config, num_samples=2, max_failures=0, **options)
    for trial in result.trials:
        last = trial.last_result
        print(json.dumps({"status": trial.status, "failures": trial.num_failures,
                          "last": last.get("n"), "said": last.get("said")}), flush=True)
"""


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

    def add(self, name: str) -> str:
        """Add a host; returns its address."""
        space, link = f"{self.tag}-{name}", f"{self.tag}{len(self.names)}"
        self._ip("netns", "add", space)
        self.names.append(name)
        address = f"10.213.7.{len(self.names)}"
        self._ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("link", "set", link, "master", self.bridge, "up")
        for setting in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            self._ip("-n", space, *setting)
        self._ip("-n", space, "link", "set", "lo", "up")
        return address

    def cut(self, name: str, off: bool = True) -> None:
        """Take a host off the network, or bring it back."""
        link = f"{self.tag}{self.names.index(name)}"
        self._ip("link", "set", link, "down" if off else "up")

    def start(self, name: str, *command: str, **options: object) -> subprocess.Popen[str]:
        """Run Python there, with a directory of its own."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "HOME": str(home),
            "TMPDIR": str(home),
            "PTUNE_HOST": name,
            "PREFECT_TUNE_SHARED_DIRECTORY": "0",
            "PREFECT_TUNE_LEASE_S": "4",
        }
        process = subprocess.Popen(
            ["ip", "netns", "exec", f"{self.tag}-{name}", sys.executable, *command],
            cwd=home,
            env=environment,
            text=True,
            stdout=subprocess.PIPE if options.get("reads") else subprocess.DEVNULL,
            stderr=(home / f"{len(self.processes)}.log").open("w"),
        )
        self.processes.append(process)
        return process

    def worker(self, name: str, scheduler: str, *arguments: str) -> subprocess.Popen[str]:
        return self.start(
            name, "-m", "dask", "worker", scheduler, "--no-dashboard", "--nthreads", "1", *arguments
        )

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for name in self.names:
            space = f"{self.tag}-{name}"
            pids = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
            for pid in map(int, pids.stdout.split()):
                os.kill(pid, 9)
            subprocess.run(["ip", "netns", "del", space], check=False)
        subprocess.run(["ip", "link", "del", self.bridge], check=False)


@pytest.fixture
def hosts(tmp_path):
    tag = f"pt{os.getpid() % 10000}"
    try:
        hosts = Hosts(tag, tmp_path)
        address = hosts.add("scheduler")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', None) or error}")
    try:
        hosts.start("scheduler", "-m", "dask", "scheduler", "--no-dashboard", "--host", address)
        hosts.scheduler = f"tcp://{address}:8786"
        for name in ("one", "two", "driver"):
            hosts.add(name)
        (tmp_path / "sweep.py").write_text(DRIVER)
        yield hosts
    finally:
        hosts.close()


def run(hosts, kind):
    arguments = (kind, hosts.scheduler, str(hosts.directory / "driver"))
    return hosts.start("driver", str(hosts.directory / "sweep.py"), *arguments, reads=True)


def lines(process):
    """What the driver prints, as it does."""
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def test_a_host_that_is_cut_off_loses_its_trials_to_another_and_comes_back(hosts):
    for name in ("one", "two"):
        hosts.worker(name, hosts.scheduler)
    driver = run(hosts, "sweep")
    seen: dict[str, int] = {}
    said = lines(driver)
    for line in said:
        seen[line["host"]] = seen.get(line["host"], 0) + 1
        if seen.get("one", 0) > 3 and seen.get("two", 0) > 3:
            break
    hosts.cut("one")
    time.sleep(8)
    hosts.cut("one", off=False)
    (hosts.directory / "driver" / "go").touch()
    ends = [line for line in said if "status" in line]
    assert driver.wait(60) == 0
    assert [(end["status"], end["failures"]) for end in ends] == [("TERMINATED", 0)] * 2
    assert all(end["last"] >= 30 for end in ends)
    # Checkpoints came to the driver, which shares no directory with the workers.
    assert list((hosts.directory / "driver" / "sweep").glob("*/checkpoint_*"))


def test_a_worker_that_joins_late_takes_over_from_one_that_leaves(hosts):
    first = hosts.worker("one", hosts.scheduler)
    driver = run(hosts, "sweep")
    said = lines(driver)
    next(line for line in said if line["n"] and line["n"] > 3)
    hosts.worker("two", hosts.scheduler)
    next(line for line in said if line.get("host") == "two")
    first.terminate()
    (hosts.directory / "driver" / "go").touch()
    ends = [line for line in said if "status" in line]
    assert driver.wait(60) == 0
    assert [(end["status"], end["failures"]) for end in ends] == [("TERMINATED", 0)] * 2
    assert all(end["last"] >= 30 for end in ends)


def test_bundles_are_on_different_hosts(hosts):
    for name in ("one", "two"):
        hosts.worker(name, hosts.scheduler)
    driver = run(hosts, "pair")
    (end,) = [line for line in lines(driver) if "status" in line]
    assert end["status"] == "TERMINATED"
    assert sorted(end["said"]) == ["10.213.7.2", "10.213.7.3"]
