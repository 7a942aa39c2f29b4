"""Ray's name for distributed training with Horovod, which says what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from prefect_tune.error import TuneError


def DistributedTrainableCreator(  # noqa: N802  Ray's name
    func: Callable[..., Any], *args: Any, **kwargs: Any
) -> NoReturn:
    """Raise an error that says what to use in place of Horovod.

    Raises:
        TuneError: Always.
    """
    raise TuneError(
        "Horovod is not supported: its last release, 0.28.1 of 2023, is older than today's PyTorch "
        "and TensorFlow. Use prefect_tune.integration.torch.DistributedTrainableCreator "
        "with DistributedDataParallel in place of hvd.DistributedOptimizer, or that of "
        "prefect_tune.integration.tensorflow with MultiWorkerMirroredStrategy. A program that "
        'runs with MPI is a trainable, too: tune.command("mpirun -n 4 python train.py --lr {lr}").'
    )
