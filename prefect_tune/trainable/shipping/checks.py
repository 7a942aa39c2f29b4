"""Checks that authors of trainables can call."""

from __future__ import annotations

import inspect
import tempfile
from typing import Any

import cloudpickle

from prefect_tune.error import TuneError
from prefect_tune.trainable.function import trainable_name, validate_trainable, without_partials
from prefect_tune.trainable.shipping.packing import unpicklable_parts
from prefect_tune.trainable.trainable import Trainable

_STEPS = 3


def validate_save_restore(
    trainable_cls: type[Trainable],
    config: dict[str, Any] | None = None,
    num_gpus: int = 0,
    use_object_store: bool = False,
) -> bool:
    """Check that a class trainable can save its state and another object can restore it.

    The class is run in this process.

    Args:
        trainable_cls: The class.
        config: A configuration for it.
        num_gpus: Accepted without effect; the class uses the GPUs of this process.
        use_object_store: Pass the state as bytes, as `save_to_object` gives them.

    Returns:
        True.

    Raises:
        InvalidTrainable: If `trainable_cls` is not a class trainable.
        TuneError: If the restored object is at another iteration.
        Exception: If a method of the class raises.
    """
    validate_trainable(trainable_cls, "trainable_cls")
    first, second = (trainable_cls(dict(config or {})) for _ in range(2))
    try:
        for _ in range(_STEPS):
            first.train()
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            if use_object_store:
                second.restore_from_object(first.save_to_object())
            else:
                second.restore(first.save(directory))
        _compare(first.training_iteration, second.training_iteration)
        _compare(first.train()["training_iteration"], second.train()["training_iteration"])
    finally:
        first.stop()
        second.stop()
    return True


def diagnose_serialization(trainable: Any) -> bool | set[str]:
    """Print and return what keeps a trainable from being sent to a trial process.

    Args:
        trainable: The trainable.

    Returns:
        True if it can be sent, else the names of the variables that cannot be pickled.
    """
    name = trainable_name(trainable)
    try:
        cloudpickle.dumps(trainable)
    except Exception as error:
        print(f"{name} cannot be pickled: {type(error).__name__}: {error}")
    else:
        print(f"{name} can be pickled.")
        return True
    culprits = set()
    function = without_partials(trainable)
    kind = "variables that it uses" if inspect.isfunction(function) else "parts"
    print(f"Its {kind} that cannot be pickled:")
    for where, variable, value in unpicklable_parts(trainable):
        print(f"  {where}: {type(value).__name__}")
        culprits.add(variable)
    if not culprits:
        print("  none by itself; look into objects that they refer to")
    else:
        print("Create such objects (locks, connections, open files, ...) inside the trainable.")
    return culprits


def _compare(first: int, second: int) -> None:
    if first != second:
        raise TuneError(
            f"The object that was saved is at iteration {first}, the one that was restored at "
            f"iteration {second}."
        )
