"""Ray's older names for trainables whose checkpoints are uploaded, which all are here."""

from __future__ import annotations

from typing import Any

from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.trainable import Trainable


class DurableTrainable(Trainable):
    """Older name of `Trainable`: the checkpoints of every trainable are uploaded to storage."""


def durable(trainable: Any) -> Any:
    """Return a trainable unchanged: the checkpoints of every trainable are uploaded to storage.

    Args:
        trainable: A trainable, or the name of a registered one.

    Raises:
        InvalidTrainable: If `trainable` is neither.
    """
    if not isinstance(trainable, str):
        validate_trainable(trainable)
    return trainable
