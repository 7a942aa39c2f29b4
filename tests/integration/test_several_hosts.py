"""A sweep on several hosts: network namespaces with addresses and directories of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from distributed import Security

from ..network_hosts import Hosts
from ..s3 import moto_main
from ..s3.endpoint import Endpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DRIVER = """
import json, os, subprocess, sys, time
import prefect_tune as tune
from distributed import Client, Scheduler, SpecCluster
from distributed.deploy.spec import ProcessInterface
from distributed.security import Security
from prefect_tune import Checkpoint
from prefect_tune.blocks import DaskCluster
from prefect_tune.error import ClusterError

def train(config):
    start = tune.get_checkpoint()
    n = start.to_dict()["n"] if start else 0
    while n < 30 or not os.path.exists(config["go"]):
        n += 1
        time.sleep(0.2)
        tune.report({"n": n, "host": host()}, checkpoint=Checkpoint.from_dict({"n": n}))

def host():
    return open("/proc/self/environ").read().split("PTUNE_HOST=")[1].split("\\0")[0]

def pair(config):
    workers = tune.trial_workers()
    said = [worker.start(host_of, worker.host).result(60) for worker in workers]
    tune.report(said=said)

def host_of(address):
    return address

def short(config):
    open(os.path.join(config["there"], host()), "w").close()
    deadline = time.time() + 90
    while len(os.listdir(config["there"])) < 2 and time.time() < deadline:
        time.sleep(0.1)
    tune.report(said=host())

def reads(config):
    tune.report(n=len(open("data.txt").read()))

def gang(config):
    from tests.integration.distributed_trainables import total
    path = tune.get_checkpoint()
    n = begin = path.to_dict()["n"] if path else 0
    ended = 0
    while n < begin + 5 or not ended:
        n += 1
        time.sleep(0.2)
        ended = total(float(os.path.exists(config["go"])))
        save = tune.should_checkpoint()
        tune.report({"n": n, "begin": begin, "asked": save,
                     "hosts": [worker.host for worker in tune.trial_workers()]},
                    checkpoint=Checkpoint.from_dict({"n": n}) if save else None)

class Elsewhere(ProcessInterface):
    def __init__(self, scheduler, hosts, name):
        super().__init__()
        self.hosts, self.address, self.name = hosts, scheduler, name
    async def start(self):
        self.host = self.hosts.pop()
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", f"{os.environ['PTUNE_TAG']}-{self.host}", sys.executable, "-m",
             "dask", "worker", self.address, "--no-dashboard", "--nthreads", "1", "--no-nanny",
             "--name", self.name],
            env={**os.environ, "PTUNE_HOST": self.host},
        )
        await super().start()
    async def close(self):
        self.process.kill()  # it is retired, and idle
        self.hosts.append(self.host)
        await super().close()

class HostCluster(SpecCluster):
    def _new_worker_name(self, number):
        return f"worker-{number}"

if __name__ == "__main__":
    kind, scheduler, storage, *files = sys.argv[1:]
    class Watch(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            said = {name: result.get(name) for name in ("n", "host", "begin", "asked", "hosts")}
            print(json.dumps({**said, "trial": trial.trial_id, "pid": result["pid"]}), flush=True)
    options = dict(cluster=scheduler, orchestrate=False, storage_path=storage, callbacks=[Watch()],
                   name=kind, verbose=0, raise_on_failed_trial=False)
    def say(result):
        for trial in result.trials:
            last = trial.last_result or {}
            print(json.dumps({"status": trial.status, "failures": trial.num_failures,
                              "last": last.get("n"), "said": last.get("said"),
                              "error": str(trial.error)}), flush=True)
    if kind == "adaptive":
        dask = {"cls": Scheduler, "options": {"host": scheduler, "dashboard_address": ":0"}}
        hosts = ["two", "one"]
        worker = {"cls": Elsewhere, "options": {"hosts": hosts}}
        with HostCluster(scheduler=dask, worker=worker) as cluster:
            cluster.adapt(minimum=0, maximum=2, interval="200 ms")
            options["cluster"] = cluster
            say(tune.run(short, config={"there": files[0]}, num_samples=6, **options))
            while len(hosts) < 2 or cluster.scheduler_info["workers"]:
                time.sleep(0.2)
            print(json.dumps({"idle": len(hosts)}), flush=True)
    elif kind == "unseen":
        open("data.txt", "w").close()
        try:
            tune.run(reads, num_samples=20, **options)
        except ClusterError as error:
            print(json.dumps({"refused": str(error)}))
    elif kind == "gang":
        from tests.integration.distributed_trainables import distributed
        trainable = distributed(gang, 2, num_workers_per_host=1)
        say(tune.run(trainable, config={"go": files[0]}, max_failures=0, **options))
    elif kind in ("pair", "tls"):
        bundles = tune.PlacementGroupFactory([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
        options["resources_per_trial"] = bundles
        if kind == "tls":
            ca, cert, key = files
            security = Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key,
                                require_encryption=True)
            with Client(scheduler, security=security) as client:
                say(tune.run(pair, **{**options, "cluster": client}))
            connection = dict(address=scheduler, ca_file=ca, cert_file=cert, key_file=key)
            options.update(cluster=DaskCluster(connection=connection), name="block")
        say(tune.run(pair, **options))
    else:
        config = {"go": files[0]}
        say(tune.run(train, config=config, num_samples=2, max_failures=0, resume="AUTO", **options))
"""


@pytest.fixture
def bare(tmp_path):
    """Hosts on which nothing runs."""
    try:
        hosts = Hosts(f"pt{os.getpid() % 10000}", tmp_path)
        hosts.add("scheduler")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', None) or error}")
    try:
        for name in ("one", "two", "driver"):
            hosts.add(name)
        (tmp_path / "sweep.py").write_text(DRIVER)
        yield hosts
    finally:
        hosts.close()


@pytest.fixture
def hosts(bare):
    start_scheduler(bare)
    return bare


def start_scheduler(hosts, protocol="tcp", *arguments):
    address = hosts.address("scheduler")
    where = ("--host", address, "--protocol", protocol)
    hosts.start("scheduler", "-m", "dask", "scheduler", "--no-dashboard", *where, *arguments)
    hosts.scheduler = f"{protocol}://{address}:8786"


def run(hosts, kind, *files, on="driver", storage=None, **variables):
    files = files or (str(hosts.directory / "go"),)
    arguments = (kind, hosts.scheduler, storage or str(hosts.directory / "driver"), *files)
    script = str(hosts.directory / "sweep.py")
    return hosts.start(on, script, *arguments, reads=True, PTUNE_TAG=hosts.tag, **variables)


def lines(process):
    """What the driver prints, as it does."""
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def said_by(hosts, process):
    """What the driver has written to its standard error."""
    return (hosts.directory / "driver" / f"{hosts.processes.index(process)}.log").read_text()


def assert_all_ended(ends, count=2):
    assert [(end["status"], end["failures"]) for end in ends] == [("TERMINATED", 0)] * count
    assert all(end["last"] >= 30 for end in ends)


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
    (hosts.directory / "go").touch()
    ends = [line for line in said if "status" in line]
    assert driver.wait(60) == 0
    assert_all_ended(ends)
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
    (hosts.directory / "go").touch()
    ends = [line for line in said if "status" in line]
    assert driver.wait(60) == 0
    assert_all_ended(ends)


def test_bundles_are_on_different_hosts(hosts):
    for name in ("one", "two"):
        hosts.worker(name, hosts.scheduler)
    driver = run(hosts, "pair")
    (end,) = [line for line in lines(driver) if "status" in line]
    assert end["status"] == "TERMINATED"
    assert sorted(end["said"]) == ["10.213.7.2", "10.213.7.3"]


def test_a_file_that_only_the_driver_sees_ends_the_sweep_at_once(hosts):
    for name in ("one", "two"):
        hosts.worker(name, hosts.scheduler)
    driver = run(hosts, "unseen")
    (end,) = lines(driver)
    home = hosts.directory
    assert f"{home}/driver/data.txt is there on the driver's machine" in end["refused"]
    assert re.search(rf"does not see it \(.*, working in {home}/(one|two)\)", end["refused"])


def test_distributed_training_leaves_a_host_that_is_pre_empted(hosts):
    hosts.add("three")
    workers = {
        hosts.address(name): hosts.worker(name, hosts.scheduler, "--no-nanny")
        for name in ("one", "two", "three")
    }
    driver = run(hosts, "gang")
    said = lines(driver)
    first = next(line for line in said if line["n"] > 3)
    gone = first["hosts"][1]  # it runs no trial, only another worker of one
    workers[gone].terminate()
    asked = next(line for line in said if line["asked"])
    again = next(line for line in said if line["begin"])
    (hosts.directory / "go").touch()
    (end,) = [line for line in said if "status" in line]
    assert (end["status"], end["failures"]) == ("TERMINATED", 0)
    assert again["begin"] == asked["n"]
    assert gone not in again["hosts"]
    assert len(set(again["hosts"])) == 2


def test_a_sweep_goes_on_with_a_driver_on_another_host(hosts):
    moto = Path(moto_main.__file__)
    server = hosts.start("scheduler", str(moto), hosts.address("scheduler"), reads=True)
    port = server.stdout.readline().strip()
    url = f"http://{hosts.address('scheduler')}:{port}"
    s3 = Endpoint(url, "testing", "testing-secret", "us-east-1").environ
    workers = [hosts.worker(name, hosts.scheduler, **s3) for name in ("one", "two")]
    make = "import boto3; boto3.client('s3').create_bucket(Bucket='sweeps')"
    assert hosts.start("scheduler", "-c", make, **s3).wait(60) == 0
    first = run(hosts, "sweep", storage="s3://sweeps/there", **s3)
    reached: dict[str, int] = {}
    for line in lines(first):
        reached[line["trial"]] = line["n"]
        if len(reached) == 2 and min(reached.values()) > 8:
            break
    hosts.cut("driver")
    hosts.kill("driver")
    hosts.add("other")
    (hosts.directory / "go").touch()
    second = run(hosts, "sweep", on="other", storage="s3://sweeps/there", **s3)
    said = list(lines(second))
    assert second.wait(60) == 0
    assert_all_ended([line for line in said if "status" in line])
    begins: dict[str, int] = {}
    for line in said:
        if line.get("trial"):
            begins.setdefault(line["trial"], line["n"])
    assert begins.keys() == reached.keys()
    # They went on from a checkpoint, of which the newest ones may not have been in storage.
    assert all(begin > 1 for begin in begins.values())
    assert all(worker.poll() is None for worker in workers)


def test_a_slow_host_loses_no_trial(hosts):
    hosts.slow("one", "400kbit")
    slow = hosts.worker("one", hosts.scheduler, "--no-nanny")
    hosts.worker("two", hosts.scheduler)
    driver = run(hosts, "sweep", PREFECT_TUNE_LEASE_S="30")
    ended = threading.Event()

    def starve() -> None:
        while not ended.wait(0.5):
            slow.send_signal(signal.SIGSTOP)
            ended.wait(2)
            slow.send_signal(signal.SIGCONT)

    said = lines(driver)
    begun = [next(line for line in said if line["host"] == "one")]
    thread = threading.Thread(target=starve)
    thread.start()
    try:
        (hosts.directory / "go").touch()
        rest = [*begun, *said]
    finally:
        ended.set()
        thread.join()
    assert driver.wait(60) == 0
    assert_all_ended([line for line in rest if "status" in line])
    results = [line for line in rest if line.get("trial")]
    # Each result came once, and each trial had one process.
    assert len({(line["trial"], line["n"]) for line in results}) == len(results)
    assert len({(line["trial"], line["pid"]) for line in results}) == 2


def test_encrypted_by_a_security_and_by_a_block(bare, tmp_path):
    made = Security.temporary()
    files = []
    for name, text in (
        ("ca", made.tls_ca_file),
        ("cert", made.tls_client_cert),
        ("key", made.tls_client_key),
    ):
        files.append(str(tmp_path / f"{name}.pem"))
        Path(files[-1]).write_text(text)
    certificates = [
        argument
        for option, file in zip(("ca-file", "cert", "key"), files, strict=True)
        for argument in (f"--tls-{option}", file)
    ]
    start_scheduler(bare, "tls", *certificates)
    for name in ("one", "two"):
        bare.worker(name, bare.scheduler, *certificates)
    driver = run(bare, "tls", *files)
    ends = [line for line in lines(driver) if "status" in line]
    assert [end["status"] for end in ends] == ["TERMINATED"] * 2
    assert [sorted(end["said"]) for end in ends] == [["10.213.7.2", "10.213.7.3"]] * 2


def test_waiting_trials_start_workers_on_other_hosts_which_go_when_idle(bare):
    bare.scheduler = bare.address("driver")
    (bare.directory / "there").mkdir()
    driver = run(bare, "adaptive", str(bare.directory / "there"))
    said = list(lines(driver))
    ends = [line for line in said if "status" in line]
    assert [end["status"] for end in ends] == ["TERMINATED"] * 6
    assert {end["said"] for end in ends} == {"one", "two"}
    assert said[-1] == {"idle": 2}


def test_workers_that_cannot_reach_each_other_are_named(hosts):
    hosts.block("one", "two")
    for name in ("one", "two"):
        hosts.worker(name, hosts.scheduler, "--no-nanny")
    driver = run(hosts, "pair", PREFECT_TUNE_MAX_LOST="1")
    (end,) = [line for line in lines(driver) if "status" in line]
    assert end["status"] == "ERROR"
    told = r"tcp://10\.213\.7\.[23]:\d+ cannot reach the one at tcp://10\.213\.7\.[23]:\d+"
    assert re.search(told, end["error"])
    driver.wait(60)
    assert re.search(told, said_by(hosts, driver))


def test_a_worker_that_the_scheduler_cannot_reach_is_named(hosts):
    hosts.block("scheduler", "one", port=40000)
    hosts.worker("one", hosts.scheduler, "--no-nanny", "--worker-port", "40000")
    hosts.worker("two", hosts.scheduler, "--no-nanny")
    (hosts.directory / "go").touch()
    driver = run(hosts, "sweep")
    said = list(lines(driver))
    assert_all_ended([line for line in said if "status" in line])
    assert {line["host"] for line in said if line.get("host")} == {"two"}
    told = "worker at tcp://10.213.7.2:40000 does not answer the scheduler at tcp://10.213.7.1:8786"
    assert told in said_by(hosts, driver)
