"""`DistributedTrainable`: a training function that runs in several processes for each trial."""

from __future__ import annotations

import contextlib
import functools
import inspect
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from prefect_tune.error import InvalidArgument, InvalidTrainable, TuneError
from prefect_tune.resources import CPU, GPU, PlacementGroupFactory
from prefect_tune.trainable.distributed.group import WorkerGroup
from prefect_tune.trainable.distributed.rendezvous import (
    Backend,
    Invitation,
    WorkerInfo,
    current_worker,
    current_worker_and_exchange,
    set_current_worker,
)
from prefect_tune.trainable.distributed.worker import run_worker
from prefect_tune.trainable.function import run_function, trainable_name, validate_trainable
from prefect_tune.trainable.runtime.attempt_session import current_session
from prefect_tune.trainable.session import checkpoint_dir
from prefect_tune.trainable.trial_workers import TrialWorker, WorkerCall, trial_workers
from prefect_tune.validation import check_count, check_number

_GIVEN = ("checkpoint_dir", "reporter")
_LOOPBACK = "127.0.0.1"


class DistributedTrainable:
    """Trainable that runs a training function in several processes, the workers of a trial.

    The first worker is the process of the trial: its reports and checkpoints are the trial's. The
    others end with it, and the attempt fails if one of them fails.

    Args:
        function: The training function, as for `tune.run`.
        num_workers: Number of workers of each trial.
        num_cpus_per_worker: CPUs that are reserved for each worker.
        num_gpus_per_worker: GPUs that are reserved for each worker.
        num_workers_per_host: Number of workers on each of the nodes; None puts the workers on as
            few nodes as possible.
        timeout_s: Seconds within which the workers have to connect.
        backend: Sets a framework up around the function.

    Raises:
        InvalidArgument: If an argument cannot work.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        num_workers: int,
        num_cpus_per_worker: float,
        num_gpus_per_worker: float,
        num_workers_per_host: int | None,
        timeout_s: float,
        backend: Backend,
    ) -> None:
        validate_trainable(function, "func")
        if inspect.isclass(function):
            raise InvalidTrainable(
                "func",
                f"{function.__name__} is a class.",
                "Distributed training runs a function, `def train(config): ...`, in each worker.",
            )
        check_count("num_workers", num_workers, at_least=1)
        per_host = 1 if num_workers_per_host is None else num_workers_per_host
        check_count("num_workers_per_host", per_host, at_least=1)
        if num_workers % per_host:
            raise InvalidArgument(
                "num_workers_per_host",
                f"{num_workers} workers cannot be divided into groups of {per_host}.",
                "`num_workers` is a multiple of it.",
            )
        check_number("num_cpus_per_worker", num_cpus_per_worker, at_least=0.001)
        check_number("num_gpus_per_worker", num_gpus_per_worker, at_least=0)
        check_number("timeout_s", timeout_s, at_least=0.001)
        if num_gpus_per_worker > 1 and num_gpus_per_worker % 1:
            raise InvalidArgument(
                "num_gpus_per_worker",
                f"got {num_gpus_per_worker}.",
                "Give whole GPUs, or a share of one.",
            )
        self._function = function
        self._num_workers = num_workers
        self._per_host = per_host
        self._timeout_s = timeout_s
        self._backend = backend
        bundle = {CPU: num_cpus_per_worker * per_host}
        if num_gpus_per_worker:
            bundle[GPU] = num_gpus_per_worker * per_host
        strategy = "PACK" if num_workers_per_host is None else "STRICT_SPREAD"
        #: Resources of each trial; see `tune.with_resources`.
        self._resources = PlacementGroupFactory([bundle] * (num_workers // per_host), strategy)
        self.__name__ = trainable_name(function)
        self.__signature__ = inspect.signature(function)

    def default_resource_request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """Return the resources of a trial."""
        return self._resources

    def __call__(self, config: dict[str, Any], **keywords: Any) -> None:
        """Run the function in this process, and start the other workers if it is the first one."""
        session = current_session()
        if session is None:
            raise TuneError(
                "Distributed training runs as a trial only: give it to `tune.run` or `Tuner`."
            )
        # `run_function` adds these arguments itself.
        given = {key: value for key, value in keywords.items() if key not in _GIVEN}
        function = functools.partial(self._function, **given) if given else self._function
        worker = current_worker_and_exchange()
        if worker is not None:
            with self._backend(*worker):
                run_function(function, session)
            return
        if threading.current_thread() is not threading.main_thread():
            raise InvalidArgument(
                "isolation",
                "the trial runs in a thread, and distributed training needs processes.",
                'Leave out isolation="thread" and local_mode=True.',
            )
        bundles = trial_workers()
        workers = self._worker_infos(bundles)

        def start(invitation: Invitation) -> WorkerCall:
            bundle = bundles[invitation.worker.bundle]
            return bundle.start(run_worker, invitation, session.context)

        with (
            WorkerGroup(workers, start, session.context.checkpoint, self._timeout_s) as group,
            group.training(),
        ):
            set_current_worker(workers[0], group.exchange)
            with self._backend(workers[0], group.exchange):
                run_function(function, session)
            group.wait()

    def _worker_infos(self, bundles: list[TrialWorker]) -> list[WorkerInfo]:
        """Return the workers of a trial, in the order of its bundles."""
        groups = self._num_workers // self._per_host
        if len(bundles) != groups:
            raise InvalidArgument(
                "with_resources",
                f"the trial has {len(bundles)} bundles, and its workers need {groups}.",
                "Give num_cpus_per_worker and num_gpus_per_worker instead.",
            )
        per_host = self._per_host
        seats = [(bundle, number) for bundle in bundles for number in range(per_host)]
        hosts = [bundle.host for bundle, _ in seats]
        node_ranks = {host: number for number, host in enumerate(dict.fromkeys(hosts))}
        return [
            WorkerInfo(
                rank=rank,
                size=self._num_workers,
                local_rank=hosts[:rank].count(bundle.host),
                local_size=hosts.count(bundle.host),
                node_rank=node_ranks[bundle.host],
                host=bundle.host if len(node_ranks) > 1 else _LOOPBACK,
                bundle=bundle.bundle,
                devices=_share(bundle.devices, number, per_host),
                # A process has as many threads as its bundle has CPUs.
                threads=None if per_host == 1 else max(1, int(bundle.resources[CPU] / per_host)),
            )
            for rank, (bundle, number) in enumerate(seats)
        ]


@contextlib.contextmanager
def distributed_checkpoint_dir(step: int, disable: bool = False) -> Iterator[str]:
    """Provide a directory for a checkpoint in every worker; only that of the first is kept.

    `tune.checkpoint_dir` does the same.

    Args:
        step: Number for the directory's name.
        disable: True drops the checkpoint of the first worker, too.

    Raises:
        InvalidArgument: If `step` is no integer, or negative.
        StorageError: If the directory cannot be made.
    """
    if disable:
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            yield directory
    else:
        with checkpoint_dir(step) as directory:
            yield directory


def is_distributed_trainable() -> bool:
    """Return True in a worker of distributed training."""
    return current_worker() is not None


def gpus_per_worker(num_gpus_per_worker: float, use_gpu: bool | None) -> float:
    """Return how many GPUs each worker gets, from the two arguments that can set it.

    Raises:
        InvalidArgument: If they contradict each other.
    """
    if use_gpu is False and num_gpus_per_worker:
        raise InvalidArgument(
            "use_gpu",
            f"it is False, and num_gpus_per_worker is {num_gpus_per_worker}.",
            "Leave out one of them.",
        )
    return num_gpus_per_worker or (1 if use_gpu else 0)


def _share(devices: tuple[str, ...], number: int, of: int) -> tuple[str, ...]:
    """Return the devices of one worker, among those of its bundle."""
    if len(devices) < of:  # the workers share each device
        return devices
    each = len(devices) // of
    return devices[number * each : (number + 1) * each]
