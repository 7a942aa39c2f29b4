"""Trainables with fixed arguments or with resources of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.resources import PlacementGroupFactory, Resources
from prefect_tune.trainable.function import validate_trainable

_RESOURCES = "_resources"


def with_parameters(trainable: Callable[..., Any], **kwargs: Any) -> Callable[..., Any]:
    """Fix further arguments of a trainable, such as data sets.

    The objects travel to each node once and are loaded there once; trials are forked from the
    process that holds them and share its memory.

    Args:
        trainable: A function ``f(config, **kwargs)``.
        **kwargs: The arguments.

    Raises:
        InvalidTrainable: If `trainable` is not callable or does not take these arguments.
    """
    if not callable(trainable):
        validate_trainable(trainable)
    wrapped = functools.partial(trainable, **kwargs)
    validate_trainable(wrapped)
    resources = requested_resources(trainable)
    return wrapped if resources is None else with_resources(wrapped, resources)


def with_resources(trainable: Callable[..., Any], resources: Any) -> Callable[..., Any]:
    """Say what each trial of a trainable needs.

    Args:
        trainable: A function ``f(config)``.
        resources: A dict as for `resources_per_trial`, a `PlacementGroupFactory`, or a function of
            the configuration that returns one of them.

    Raises:
        InvalidArgument: If `resources` is of another type or has impossible amounts.
    """
    if not callable(resources) and not isinstance(resources, (Mapping, PlacementGroupFactory)):
        raise InvalidArgument(
            "resources",
            f"got {type(resources).__name__}.",
            "Give a dict, a PlacementGroupFactory, or a function of the config.",
        )
    if not callable(resources):
        Resources.parse(resources, "resources")
    wrapped = functools.partial(trainable)
    setattr(wrapped, _RESOURCES, resources)
    return wrapped


def requested_resources(trainable: object) -> Any:
    """What `with_resources` was given for a trainable, None if it was not used."""
    return getattr(trainable, _RESOURCES, None)
