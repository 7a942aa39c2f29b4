"""Check the values in a search space before it is parsed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import cloudpickle

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.large import size_of
from prefect_tune.space.categorical import Categorical
from prefect_tune.space.template import Path, is_variable, path_name

# JSON libraries and Python's own recursion fail a little deeper.
_DEEPEST = 100
_HEAVY = 2**20
_PLAIN = (str, int, float, bool, bytes, type(None))


def check_nesting(space: Any, argument: str) -> None:
    """Check that containers do not contain themselves, and are not nested too deeply.

    Args:
        space: The search space.
        argument: Name of the user's argument in errors.

    Raises:
        InvalidArgument: If a container contains itself or is nested too deeply.
    """
    _check_below(space, (), {}, set(), argument)


def _check_below(
    value: Any, path: Path, above: dict[int, Path], seen: set[int], argument: str
) -> None:
    if id(value) in above:
        raise InvalidArgument(
            argument,
            f"its value at {path_name(path)!r} contains itself.",
            "Give a copy that does not.",
        )
    if len(path) > _DEEPEST:
        raise InvalidArgument(
            argument,
            f"it is nested more than {_DEEPEST} levels deep.",
            "Give it fewer levels, or the data to `tune.with_parameters`.",
        )
    if id(value) in seen:
        return
    above[id(value)] = path
    for key, item in _items(value):
        if isinstance(item, dict | list | tuple | Categorical):
            _check_below(item, (*path, key), above, seen, argument)
    del above[id(value)]
    seen.add(id(value))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    else:
        yield from enumerate(value.categories if isinstance(value, Categorical) else value)


def check_sendable(space: Mapping[str, Any], argument: str) -> None:
    """Check that the constants of a space can be pickled.

    Args:
        space: The search space.
        argument: Name of the user's argument in errors.

    Raises:
        InvalidArgument: If a constant cannot be pickled; the message names the constant.
    """
    for path, value in _constants(space, ()):
        try:
            # With `buffer_callback`, large arrays are not copied.
            cloudpickle.Pickler(_Nowhere(), protocol=5, buffer_callback=lambda _: None).dump(value)
        except Exception as error:
            # Pickling an object of a user's class may raise anything.
            raise InvalidArgument(
                argument,
                f"the {type(value).__name__} at {path_name(path)!r} cannot be sent to trials "
                f"({type(error).__name__}: {error}).",
                "Make it in the trainable.",
            ) from error


def _constants(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if is_variable(value) or isinstance(value, _PLAIN):
        return
    if type(value) in (dict, list, tuple):
        for key, item in _items(value):
            yield from _constants(item, (*path, key))
    else:
        yield path, value


def large_values(space: Mapping[str, Any]) -> list[str]:
    """Return descriptions of the values of a space that are large enough to send once per node."""
    found = {path_name(path): size_of(value) for path, value in _leaves(space, ())}
    return [f"{name!r} ({size / 2**20:.0f} MB)" for name, size in found.items() if size >= _HEAVY]


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if type(value) in (dict, list, tuple) or isinstance(value, Categorical):
        if size_of(value) >= _HEAVY:
            yield path, value
            return
        for key, item in _items(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return len(data)
