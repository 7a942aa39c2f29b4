"""Training functions of several workers, which talk to each other over sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from multiprocessing.connection import Client, Listener
from pathlib import Path

import psutil

import prefect_tune as tune
from prefect_tune.trainable.distributed.rendezvous import current_worker
from prefect_tune.trainable.distributed.trainable import (
    DistributedTrainable,
    distributed_checkpoint_dir,
)

#: Connections to the other workers; of those that are not the first, to that one.
_peers = []


@contextlib.contextmanager
def sockets(member, exchange):
    """Connects the workers, as a framework does."""
    with contextlib.ExitStack() as stack:
        if member.rank == 0:
            listener = stack.enter_context(Listener((member.host, 0)))
            exchange(listener.address)
            _peers.extend(stack.enter_context(listener.accept()) for _ in range(member.size - 1))
        else:
            host, port = exchange(None)[0]
            _peers.append(stack.enter_context(Client((host, port))))
        yield


def total(value):
    """The sum of a value over all workers; raises where one is gone."""
    if current_worker().rank == 0:
        value += sum(peer.recv() for peer in _peers)
        for peer in _peers:
            peer.send(value)
        return value
    _peers[0].send(value)
    return _peers[0].recv()


def distributed(function, num_workers=3, **options):
    arguments = {
        "num_cpus_per_worker": 1,
        "num_gpus_per_worker": 0,
        "num_workers_per_host": None,
        "timeout_s": 60,
        "backend": sockets,
        **options,
    }
    return DistributedTrainable(function, num_workers, **arguments)


def counts(config, checkpoint_dir=None, data=()):
    """Counts to `steps`, together, with a checkpoint at each step."""
    member = current_worker()
    start = 0 if checkpoint_dir is None else int(Path(checkpoint_dir, "step").read_text())
    note = Path(tune.get_trial_dir(), f"pids-{member.rank}")
    note.write_text(f"{note.read_text() if note.exists() else ''}{os.getpid()} ")
    for step in range(start + 1, config.get("steps", 3) + 1):
        ranks = total(member.rank)
        assert tune.get_trial_id() == os.path.basename(tune.get_trial_dir()).split("_id_")[1]
        with distributed_checkpoint_dir(step) as directory:
            Path(directory, "step").write_text(str(step))
        if step == config.get("at") and member.rank == config.get("rank") and start == 0:
            _happen(config["what"])
        tune.report(
            step=step,
            ranks=ranks,
            start=start,
            rank=tune.get_context().get_world_rank(),
            size=tune.get_context().get_world_size(),
            seen=len(data),
            zygote=psutil.Process().ppid(),
            pid=os.getpid(),
        )
    return {"end": total(1)} if config.get("returns") else None


def _happen(what):
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raises":
        raise ValueError("a bad batch")
    elif what == "exits":
        raise SystemExit(3)
    elif what == "hangs":
        while True:
            time.sleep(60)
