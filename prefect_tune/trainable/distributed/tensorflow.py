"""Distributed training with TensorFlow: ``TF_CONFIG`` in the workers of each trial."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from prefect_tune.trainable.distributed.rendezvous import Exchange, WorkerInfo
from prefect_tune.trainable.distributed.trainable import (
    DistributedTrainable,
    distributed_checkpoint_dir,
    gpus_per_worker,
    is_distributed_trainable,
)

__all__ = ["DistributedTrainableCreator", "distributed_checkpoint_dir", "is_distributed_trainable"]


def DistributedTrainableCreator(  # noqa: N802  Ray's name
    func: Callable[..., Any],
    num_workers: int = 2,
    num_gpus_per_worker: float = 0,
    num_cpus_per_worker: float = 1,
    num_workers_per_host: int | None = None,
    timeout_s: float = 15 * 60,
    use_gpu: bool | None = None,
) -> DistributedTrainable:
    """Make a trainable of a function that uses ``tf.distribute.MultiWorkerMirroredStrategy``.

    Each trial runs it in several processes, which find each other by ``TF_CONFIG``: make the
    strategy in the function, and the model in its scope::

        trainable = DistributedTrainableCreator(train, num_workers=2)
        tune.run(trainable, config={"lr": tune.loguniform(1e-4, 1e-1)}, num_samples=20)

    What the first worker reports is what the trial reports; checkpoints are written in
    `distributed_checkpoint_dir`. A worker sees its own GPUs only.

    Args:
        func: The training function, ``train(config)`` or ``train(config, checkpoint_dir=None)``.
        num_workers: How many processes each trial has.
        num_gpus_per_worker: GPUs that are reserved for each.
        num_cpus_per_worker: CPUs that are reserved for each.
        num_workers_per_host: If given, the workers are put on different nodes in groups of so many.
        timeout_s: Seconds within which the workers have to find each other.
        use_gpu: True is short for one GPU for each.

    Raises:
        InvalidArgument: If an argument cannot work.
    """
    gpus = gpus_per_worker(num_gpus_per_worker, use_gpu)
    return DistributedTrainable(
        func, num_workers, num_cpus_per_worker, gpus, num_workers_per_host, timeout_s, _with_config
    )


@contextlib.contextmanager
def _with_config(worker: WorkerInfo, exchange: Exchange) -> Iterator[None]:
    """Put the addresses of all workers in ``TF_CONFIG`` for the training function."""
    # TensorFlow opens the port itself, later. Until then this socket keeps others from getting it:
    # it is not open, and servers that allow that, as TensorFlow's does, share the port with it.
    with socket.socket() as placeholder:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            placeholder.setsockopt(socket.SOL_SOCKET, option, 1)
        placeholder.bind(("", 0))
        workers = exchange(f"{worker.host}:{placeholder.getsockname()[1]}")
        os.environ["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": workers}, "task": {"type": "worker", "index": worker.rank}}
        )
        yield
