"""Trainables that are known by a name: ``register_trainable("train", f)``, ``run("train")``."""

from __future__ import annotations

from typing import Any

from prefect_tune.error import InvalidTrainable
from prefect_tune.trainable.function import validate_trainable

_trainables: dict[str, Any] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Give a trainable a name that `run` and `Tuner` understand in this process.

    Args:
        name: The name; what it meant before is forgotten.
        trainable: A function ``f(config)``.
        warn: Accepted; nothing is warned about.

    Raises:
        InvalidTrainable: If `trainable` cannot be run, or `name` is not a string.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTrainable("name", f"got {name!r}.", "It is a non-empty string.")
    validate_trainable(trainable)
    _trainables[name] = trainable


def get_trainable(name: str) -> Any:
    """The trainable that is registered under a name.

    Raises:
        InvalidTrainable: If there is none; says which names there are.
    """
    try:
        return _trainables[name]
    except KeyError:
        known = ", ".join(sorted(_trainables)) or "none"
        raise InvalidTrainable(
            "trainable",
            f"no trainable is registered as {name!r} (registered: {known}).",
            "Give the function itself, or call `register_trainable` first.",
        ) from None
