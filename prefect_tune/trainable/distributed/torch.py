"""Distributed training with PyTorch: ``torch.distributed`` in the workers of each trial."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil

from prefect_tune.error import InvalidArgument
from prefect_tune.trainable.distributed.rendezvous import Exchange, WorkerInfo
from prefect_tune.trainable.distributed.trainable import (
    DistributedTrainable,
    distributed_checkpoint_dir,
    gpus_per_worker,
    is_distributed_trainable,
)

__all__ = ["DistributedTrainableCreator", "distributed_checkpoint_dir", "is_distributed_trainable"]

_BACKENDS = ("gloo", "nccl", "mpi", "ucc", "xccl")


def DistributedTrainableCreator(  # noqa: N802  Ray's name
    func: Callable[..., Any],
    num_workers: int = 1,
    num_cpus_per_worker: float = 1,
    num_gpus_per_worker: float = 0,
    num_workers_per_host: int | None = None,
    backend: str = "gloo",
    timeout_s: float = 1800,
    use_gpu: bool | None = None,
) -> DistributedTrainable:
    """Make a trainable of a function that uses ``torch.distributed``.

    Each trial runs it in several processes, in which the default process group is ready: wrap the
    model in ``DistributedDataParallel`` and give the data a ``DistributedSampler``::

        trainable = DistributedTrainableCreator(train, num_workers=4)
        tune.run(trainable, config={"lr": tune.loguniform(1e-4, 1e-1)}, num_samples=20)

    What the first worker (rank 0) reports is what the trial reports; checkpoints are written in
    `distributed_checkpoint_dir`. A worker sees its own GPUs only: ``cuda:0`` is the first of them.

    Args:
        func: The training function, ``train(config)`` or ``train(config, checkpoint_dir=None)``.
        num_workers: How many processes each trial has.
        num_cpus_per_worker: CPUs that are reserved for each.
        num_gpus_per_worker: GPUs that are reserved for each.
        num_workers_per_host: If given, the workers are put on different nodes in groups of so many.
        backend: ``gloo``, or ``nccl`` for GPUs; or another one that PyTorch was built with.
        timeout_s: Seconds within which the workers have to find each other, and the timeout of
            their process group.
        use_gpu: True is short for one GPU for each.

    Raises:
        InvalidArgument: If an argument cannot work.
    """
    gpus = gpus_per_worker(num_gpus_per_worker, use_gpu)
    if not isinstance(backend, str) or backend.split(":")[0] not in (*_BACKENDS, "cpu", "cuda"):
        raise InvalidArgument("backend", f"got {backend!r:.80}.", 'It is e.g. "gloo" or "nccl".')
    if backend == "nccl" and not gpus:
        raise InvalidArgument(
            "backend", "nccl is for GPUs.", "Give num_gpus_per_worker=1, or backend='gloo'."
        )
    return DistributedTrainable(
        func,
        num_workers,
        num_cpus_per_worker,
        gpus,
        num_workers_per_host,
        timeout_s,
        _ProcessGroup(backend, timeout_s),
    )


@dataclass(frozen=True, slots=True)
class _ProcessGroup:
    """Makes the default process group, at a port that the system chooses."""

    backend: str
    timeout_s: float

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.backend, self.timeout_s)

    @contextlib.contextmanager
    def __call__(self, worker: WorkerInfo, exchange: Exchange) -> Iterator[None]:
        """Surround the training function."""
        import torch
        import torch.distributed as dist

        if worker.threads is not None:
            torch.set_num_threads(min(worker.threads, torch.get_num_threads()))
        timeout = timedelta(seconds=self.timeout_s)
        first = worker.rank == 0

        def store(host: str, port: int) -> dist.TCPStore:
            return dist.TCPStore(host, port, worker.size, first, timeout, wait_for_workers=False)

        # The first one's store gets a port from the system, which the others are told.
        mine = store(worker.host, 0) if first else None
        host, port = exchange([worker.host, mine.port] if mine else None)[0]
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
        interface = _interface(worker.host)
        if interface:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
        dist.init_process_group(
            self.backend,
            store=mine or store(host, port),
            rank=worker.rank,
            world_size=worker.size,
            timeout=timeout,
        )
        yield
        # Only where nothing has failed: it may wait for processes that are gone.
        dist.destroy_process_group()


def _load(backend: str, timeout_s: float) -> _ProcessGroup:
    """Import PyTorch once for all workers of a node, which are forks of the process that loads."""
    with contextlib.suppress(ImportError):  # which the workers raise
        import torch.distributed  # noqa: F401
    return _ProcessGroup(backend, timeout_s)


def _interface(host: str) -> str | None:
    """Return the network interface with an address; gloo would take the one of the host's name."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == host for address in addresses):
            return str(name)
    return None
