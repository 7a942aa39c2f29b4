"""Registries of trainables and environments by name.

``register_trainable("train", f)`` lets ``run("train")`` find the function in this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.trainable.function import validate_trainable

_trainables: dict[str, Any] = {}
_environments: dict[str, Callable[..., Any]] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Register a trainable under a name that `run` and `Tuner` accept in this process.

    Args:
        name: The name; an earlier trainable of the name is replaced.
        trainable: A function ``f(config)`` or a `Trainable` class.
        warn: Ignored, for compatibility with Ray Tune.

    Raises:
        InvalidTrainable: If `trainable` cannot be run, or `name` is not a string.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTrainable("name", f"got {name!r}.", "It is a non-empty string.")
    validate_trainable(trainable, allow_abstract=True)
    _trainables[name] = trainable


def is_registered(name: str) -> bool:
    """Return True if a trainable is registered under this name."""
    return name in _trainables


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Register a function that makes an environment under a name, for `get_env`.

    Args:
        name: The name; an earlier function of the name is replaced.
        env_creator: ``f(config) -> environment``.

    Raises:
        InvalidTrainable: If `env_creator` is not callable, or `name` is not a string.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTrainable("name", f"got {name!r}.", "It is a non-empty string.")
    if not callable(env_creator):
        raise InvalidTrainable(
            "env_creator", f"{env_creator!r:.80} is not callable.", "Give a function f(config)."
        )
    _environments[name] = env_creator


def get_env(name: str) -> Callable[..., Any]:
    """Return the function that is registered for an environment.

    Raises:
        InvalidArgument: If no environment has the name; the message lists the names there are.
    """
    try:
        return _environments[name]
    except KeyError:
        known = ", ".join(sorted(_environments)) or "none"
        raise InvalidArgument(
            "name",
            f"no environment is registered as {name!r} (registered: {known}).",
            "Call `register_env` first.",
        ) from None


def get_trainable(name: str) -> Any:
    """Return the trainable that is registered under a name.

    Raises:
        InvalidTrainable: If no trainable has the name; the message lists the names there are.
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


def get_trainable_cls(name: str) -> Any:
    """Return the trainable that is registered under a name, as `get_trainable` does.

    Ray Tune makes a class of a function here; this package returns the function itself.

    Raises:
        InvalidTrainable: If no trainable is registered under the name.
    """
    return get_trainable(name)
