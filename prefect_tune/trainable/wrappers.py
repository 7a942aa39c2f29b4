"""`with_parameters` and `with_resources`: trainables with fixed arguments or own resources."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.resources import PlacementGroupFactory, Resources
from prefect_tune.trainable.function import validate_trainable
from prefect_tune.trainable.trainable import Trainable

_RESOURCES = "_resources"
_REQUEST = "default_resource_request"


def with_parameters(trainable: Callable[..., Any], **kwargs: Any) -> Callable[..., Any]:
    """Bind further arguments of a trainable, such as data sets.

    The objects are sent to each node once and loaded there once; trials are forked from the
    process that holds them and share its memory.

    Args:
        trainable: A function ``f(config, **kwargs)``, or a class with ``setup(config, **kwargs)``.
        **kwargs: The arguments.

    Raises:
        InvalidTrainable: If `trainable` is not callable or does not accept these arguments.
    """
    if inspect.isclass(trainable):
        return _class_with_parameters(trainable, kwargs)
    if not callable(trainable):
        validate_trainable(trainable)
    wrapped = functools.partial(trainable, **kwargs)
    validate_trainable(wrapped)
    resources = _own_request(trainable)
    return wrapped if resources is None else with_resources(wrapped, resources)


def with_resources(trainable: Callable[..., Any], resources: Any) -> Callable[..., Any]:
    """Set the resources that each trial of a trainable needs.

    Args:
        trainable: A function ``f(config)``, or a class.
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
    if inspect.isclass(trainable):
        # A staticmethod, because a plain function in a class would become a method.
        own = staticmethod(resources) if callable(resources) else resources
        request = classmethod(lambda _, config: resources(config) if callable(resources) else own)
        return _subclass(trainable, {_RESOURCES: own, _REQUEST: request})
    wrapped = functools.partial(trainable)
    setattr(wrapped, _RESOURCES, resources)
    return wrapped


def _class_with_parameters(trainable: type, kwargs: dict[str, Any]) -> type[Trainable]:
    validate_trainable(trainable)
    setup = trainable.setup  # type: ignore[attr-defined]  # it is a Trainable
    signature = inspect.signature(setup)
    try:
        signature.bind(None, {}, **kwargs)
    except TypeError as error:
        raise InvalidTrainable(
            "trainable",
            f"{trainable.__name__}.setup{signature} does not take these arguments ({error}).",
            "Write e.g. `def setup(self, config, data=None)`.",
        ) from None

    def setup_with_parameters(self: Trainable, config: dict[str, Any]) -> None:
        setup(self, config, **kwargs)

    return _subclass(trainable, {"setup": setup_with_parameters})


def _subclass(trainable: type, members: dict[str, Any]) -> type[Trainable]:
    named = ("__module__", "__qualname__", "__doc__")
    like = {name: getattr(trainable, name) for name in named}
    return type(trainable.__name__, (trainable,), {**like, **members})


def requested_resources(trainable: object) -> Any:
    """Return the resources that a trainable requests, or a function of the configuration.

    Set by `with_resources`, or by a class's `default_resource_request`; None if there is neither.
    Errors of the function are raised as `InvalidArgument` that says where the function comes from.
    """
    own = _own_request(trainable)
    return functools.partial(_call_request, own) if callable(own) else own


def _call_request(function: Callable[[dict[str, Any]], Any], config: dict[str, Any]) -> Any:
    try:
        return function(config)
    except InvalidArgument:
        raise
    except Exception as error:
        argument = _REQUEST if inspect.ismethod(function) else "with_resources"
        raise InvalidArgument(
            argument,
            f"the function raised {type(error).__name__}: {error}, for the config {config!r:.200}.",
            'It gets the configuration, a dict: `lambda config: {"cpu": config["n"]}`.',
        ) from error


def _own_request(trainable: object) -> Any:
    if not inspect.isclass(trainable):
        return getattr(trainable, _RESOURCES, None)
    # The first class with a request counts: a subclass may override `with_resources`.
    for cls in trainable.__mro__:
        if cls is Trainable:
            return None
        if _RESOURCES in vars(cls):
            return getattr(cls, _RESOURCES)
        if _REQUEST in vars(cls):
            return getattr(trainable, _REQUEST)
    return None
