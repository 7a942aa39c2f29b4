"""Trials that several processes train together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Scheduler, SpecCluster, Worker

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.integration import horovod, tensorflow, torch
from prefect_tune.schedulers import ASHAScheduler
from prefect_tune.trainable.distributed.rendezvous import WorkerInfo, current_worker
from prefect_tune.trainable.distributed.trainable import DistributedTrainable

from .distributed_trainables import counts, distributed, total


def pids(trial):
    """Process ids of each worker, in the order of the attempts."""
    files = sorted(Path(trial.logdir).glob("pids-*"))
    return [[int(pid) for pid in file.read_text().split()] for file in files]


def named(trial):
    return f"trial_id_{trial.trial_id}"


@pytest.fixture
def train(sweep):
    """A sweep of a distributed trainable, one trial unless told otherwise."""

    def run(trainable=None, config=None, **options):
        return sweep(
            trainable or distributed(counts),
            config=config or {},
            trial_dirname_creator=named,
            raise_on_failed_trial=False,
            **options,
        )

    return run


def all_gone(processes):
    """Return True once no process is left: the kernel ends them a moment after the trial's end."""
    left = [psutil.Process(p) for worker in processes for p in worker if psutil.pid_exists(p)]
    return not psutil.wait_procs(left, timeout=20)[1]


def test_the_first_worker_reports_what_all_have_trained(train):
    data = tune.with_parameters(distributed(counts), data=np.ones(1 << 20))
    (trial,) = train(data, {"returns": True}).trials
    assert trial.status == "TERMINATED"
    rows = [json.loads(row) for row in Path(trial.logdir, "result.json").read_text().splitlines()]
    assert [row.get("step") for row in rows] == [1, 2, 3, None]
    assert rows[-1]["end"] == 3, "what it returned"
    assert (rows[0]["ranks"], rows[0]["rank"], rows[0]["size"]) == (0 + 1 + 2, 0, 3)
    assert rows[0]["seen"] == 1 << 20
    assert [len(worker) for worker in pids(trial)] == [1, 1, 1]
    assert len({worker[0] for worker in pids(trial)}) == 3
    assert len(list(Path(trial.logdir).glob("checkpoint_*"))) == 3
    assert all_gone(pids(trial))


def test_each_worker_has_its_own_gpu_and_cpus(train):
    (trial,) = train(distributed(looks, num_workers=2, num_gpus_per_worker=1)).trials
    assert trial.last_result["devices"] == ["0", "1"]
    assert trial.last_result["ranks"] == [("0", "2", "0"), ("1", "2", "1")]
    assert trial.last_result["bundles"] == 2


def looks(config):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    mine = [os.environ["CUDA_VISIBLE_DEVICES"], tuple(os.environ[name] for name in names)]
    Path(f"seen-{os.environ['RANK']}").write_text(repr(mine))
    total(0)
    seen = [eval(Path(f"seen-{rank}").read_text()) for rank in range(2)]
    tune.report(
        devices=[devices for devices, _ in seen],
        ranks=[ranks for _, ranks in seen],
        bundles=len(tune.get_trial_resources().bundles),
    )


@pytest.mark.parametrize(
    ("what", "rank", "said"),
    [
        ("killed", 1, "worker 1 of 3 .*SIGKILL"),
        ("raises", 2, "worker 2 of 3 .*ValueError: a bad batch"),
        ("exits", 1, r"worker 1 of 3 .*sys\.exit\(3\)"),
    ],
)
def test_the_end_of_one_worker_is_that_of_all_and_the_trial_goes_on_anew(train, what, rank, said):
    config = {"what": what, "rank": rank, "at": 2}
    (trial,) = train(config=config, max_failures=1).trials
    assert trial.status == "TERMINATED"
    assert trial.num_failures == 1
    assert (trial.last_result["step"], trial.last_result["start"]) in [(3, 1), (3, 2)]
    assert trial.last_result["ranks"] == 3
    assert [len(set(worker)) for worker in pids(trial)] == [2, 2, 2], "all have begun anew"
    assert all_gone(pids(trial))


def test_the_error_of_a_trial_is_that_of_the_worker(train):
    (trial,) = train(config={"what": "raises", "rank": 2, "at": 2}).trials
    assert trial.status == "ERROR"
    text = Path(trial.logdir, "error.txt").read_text()
    assert "worker 2 of 3 (127.0.0.1) has failed: ValueError: a bad batch" in text
    assert all_gone(pids(trial))


def test_a_scheduler_that_stops_a_trial_stops_all_its_workers(train):
    asha = ASHAScheduler(grace_period=1, max_t=40, reduction_factor=2)
    analysis = train(
        distributed(counts, num_workers=2),
        {"steps": 40, "x": tune.grid_search([1, 2])},
        scheduler=asha,
        metric="step",
        mode="max",
        stop={"training_iteration": 3},
    )
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 2
    assert all(all_gone(pids(trial)) for trial in analysis.trials)


class KillZygote(tune.Callback):
    """Kills the process that has started all of a trial's processes."""

    def __init__(self):
        self.killed = False

    def on_checkpoint(self, trial, **info):
        if not self.killed:
            self.killed = True
            os.kill(trial.last_result["zygote"], signal.SIGKILL)


def test_no_worker_outlives_the_process_that_starts_them(train):
    (trial,) = train(config={"what": "hangs", "rank": 1, "at": 3}, callbacks=[KillZygote()]).trials
    assert trial.status == "TERMINATED"
    assert [len(worker) for worker in pids(trial)] == [2, 2, 2]
    assert all_gone(pids(trial))


@pytest.mark.skipif(sys.platform != "linux", reason="one host has several loopback addresses")
def test_workers_in_groups_are_on_different_hosts(tmp_path):
    hosts = ["127.0.0.2", "127.0.0.3"]
    workers = {
        host: {"cls": Worker, "options": {"host": host, "nthreads": 2, "dashboard": False}}
        for host in hosts
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    with SpecCluster(workers, scheduler) as cluster:
        analysis = tune.run(
            distributed(tells_its_place, num_workers=4, num_workers_per_host=2),
            cluster=cluster,
            storage_path=str(tmp_path),
            orchestrate=False,
            verbose=0,
        )
    places = analysis.trials[0].last_result["places"]
    first, *_, last = [host for host, *_ in places]
    assert sorted([first, last]) == hosts
    assert [place[1:] for place in places] == [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]
    assert [place[0] for place in places] == [first, first, last, last]


def tells_its_place(config):
    member = current_worker()
    mine = [member.host, member.node_rank, member.local_rank, member.threads]
    Path(f"place-{member.rank}").write_text(json.dumps(mine))
    total(0)
    if member.rank == 0:
        places = [json.loads(Path(f"place-{rank}").read_text()) for rank in range(member.size)]
        tune.report(places=places)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"func": 5}, "`func`.*not callable"),
        ({"func": lambda: None}, "`func`.*cannot be called"),
        ({"func": tune.Trainable}, "`func`.*is a class|`func`.*no method"),
        ({"num_workers": 0}, "`num_workers`.*Give an integer of at least 1"),
        ({"num_workers": 2.0}, "`num_workers`.*Give an integer of at least 1"),
        ({"num_workers": 3, "num_workers_per_host": 2}, "`num_workers_per_host`.*multiple"),
        ({"num_cpus_per_worker": 0}, "`num_cpus_per_worker`.*got 0"),
        ({"num_gpus_per_worker": -1}, "`num_gpus_per_worker`.*got -1"),
        ({"num_gpus_per_worker": 1.5}, "`num_gpus_per_worker`.*whole GPUs"),
        ({"num_gpus_per_worker": 1, "use_gpu": False}, "`use_gpu`.*Leave out one"),
        ({"timeout_s": float("nan")}, "`timeout_s`.*got nan"),
        ({"backend": "nccl"}, "`backend`.*for GPUs.*num_gpus_per_worker=1"),
        ({"backend": "glo"}, "`backend`.*got 'glo'"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(arguments, said):
    arguments = {"func": counts, "num_workers": 2, **arguments}
    with pytest.raises(InvalidArgument, match=said):
        torch.DistributedTrainableCreator(**arguments)


@pytest.mark.parametrize("creator", [torch, tensorflow])
def test_what_a_trial_asks_for(creator):
    make = creator.DistributedTrainableCreator
    trainable = make(counts, num_workers=4, num_cpus_per_worker=2, use_gpu=True)
    assert isinstance(trainable, DistributedTrainable)
    request = trainable.default_resource_request({})
    assert (request.bundles, request.strategy) == ([{"CPU": 2, "GPU": 1}] * 4, "PACK")
    grouped = make(counts, num_workers=4, num_workers_per_host=2).default_resource_request({})
    assert (grouped.bundles, grouped.strategy) == ([{"CPU": 2}] * 2, "STRICT_SPREAD")


def test_other_bundles_than_the_workers_need_are_refused(train):
    trainable = tune.with_resources(distributed(counts), {"cpu": 3})
    (trial,) = train(trainable).trials
    assert "num_cpus_per_worker" in Path(trial.logdir, "error.txt").read_text()


def test_a_trial_that_is_a_thread_says_what_is_needed(train):
    (trial,) = train(isolation="thread").trials
    assert "`isolation`" in Path(trial.logdir, "error.txt").read_text()


def test_outside_a_trial_it_says_how_to_run_it():
    with pytest.raises(TuneError, match=r"`tune\.run`"):
        distributed(counts)({})


def test_horovod_names_what_there_is_instead():
    with pytest.raises(TuneError, match=r"(?s)Horovod.*integration\.torch.*mpirun"):
        horovod.DistributedTrainableCreator(counts, num_hosts=2, num_slots=2)


def test_tensorflow_is_told_the_ports_of_all_workers(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    meet = threading.Barrier(2)
    given = {}

    def exchange(value, rank):
        given[rank] = value
        meet.wait(30)
        return [given[0], given[1]]

    trainable = tensorflow.DistributedTrainableCreator(counts)
    seen = {}

    def work(rank):
        member = WorkerInfo(rank, 2, rank, 2, 0, "127.0.0.1", rank)
        with trainable._backend(member, lambda value: exchange(value, rank)):
            meet.wait(30)
            seen[rank] = json.loads(os.environ["TF_CONFIG"])
            # As TensorFlow does; the port is its own although it was found before.
            host, port = given[rank].split(":")
            with socket.create_server((host, int(port)), reuse_port=True):
                meet.wait(30)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 2
    assert seen[0]["cluster"] == {"worker": [given[0], given[1]]}
    assert len(set(given.values())) == 2
    assert seen[0]["task"]["type"] == "worker"


@pytest.mark.slow
def test_a_first_worker_that_hangs_when_another_has_failed_is_ended(train):
    (trial,) = train(distributed(hangs, num_workers=2)).trials
    assert trial.status == "ERROR"
    text = Path(trial.logdir, "error.txt").read_text()
    assert "worker 1 of 2" in text
    assert "Worker 0 hangs" in text


def hangs(config):
    if current_worker().rank:
        raise ValueError("gone")
    while True:
        with contextlib.suppress(BaseException):
            threading.Event().wait(60)
