"""Ray's older names for trainables whose checkpoints go to storage: here, all do."""

from __future__ import annotations

from typing import Any

from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.trainable import Trainable


class DurableTrainable(Trainable):
    """The same as `Trainable`: the checkpoints of every trainable go to storage by themselves."""


def durable(trainable: Any) -> Any:
    """Give back a trainable as it is: the checkpoints of every one go to storage by themselves.

    Args:
        trainable: A trainable, or the name of a registered one.

    Raises:
        InvalidTrainable: If it is neither.
    """
    if not isinstance(trainable, str):
        validate_trainable(trainable)
    return trainable
