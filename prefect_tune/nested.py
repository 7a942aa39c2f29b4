"""Nested results as flat ones, keys joined by ``/``."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument

DELIMITER = "/"
# Most values are of these types, and looking them up is cheaper than asking what they derive from.
_FLAT = frozenset({float, int, str, bool, type(None)})


def flatten(result: dict[str, Any]) -> dict[str, Any]:
    """Join nested keys by ``/``; `config` is left as it is.

    Returns the very same dict if nothing is nested, which is what most results are like.
    """
    for key, value in result.items():
        if type(value) not in _FLAT and isinstance(value, dict) and key != "config":
            break
    else:
        return result
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, dict) and key != "config":
            _into(flat, key, value)
        else:
            flat[key] = value
    return flat


def _into(flat: dict[str, Any], prefix: str, nested: dict[Any, Any]) -> None:
    for key, value in nested.items():
        path = f"{prefix}{DELIMITER}{key}"
        if isinstance(value, dict):
            _into(flat, path, value)
        else:
            flat[path] = value


class PathConflict(InvalidArgument, TypeError):
    """A flat key leads through a value; Ray Tune raises a TypeError."""


def flatten_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with nested keys, of any mapping, joined by ``/``; empty ones stay."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{name}/{key}": item for key, item in flatten_config(value).items()}
        else:
            flat[str(name)] = value
    return flat


def flatten_dict(
    dt: Mapping[str, Any],
    delimiter: str = DELIMITER,
    prevent_delimiter: bool = False,
    flatten_list: bool = False,
) -> dict[str, Any]:
    """A nested dict as a flat one: ``{"a": {"b": 1}}`` is ``{"a/b": 1}``; empty dicts vanish.

    Of an `OrderedDict` comes another one.

    Args:
        dt: The dict.
        delimiter: What joins keys.
        prevent_delimiter: Refuse keys that contain it already.
        flatten_list: Also take lists apart, by position.

    Raises:
        InvalidArgument: If a key contains the delimiter and must not.
    """
    flat: dict[str, Any] = OrderedDict() if isinstance(dt, OrderedDict) else {}
    for key, value in dt.items():
        if prevent_delimiter and isinstance(key, str) and delimiter in key:
            raise InvalidArgument(
                "dt", f"its key {key!r} contains {delimiter!r}.", "Choose another delimiter."
            )
        inner: Any = None
        if isinstance(value, Mapping):
            inner = value
        elif flatten_list and isinstance(value, (list, tuple)):
            inner = {str(position): item for position, item in enumerate(value)}
        if inner is None:
            flat[key] = value
            continue
        nested = flatten_dict(inner, delimiter, prevent_delimiter, flatten_list)
        flat |= {f"{key}{delimiter}{path}": item for path, item in nested.items()}
    return flat


def unflatten_dict(dt: Mapping[str, Any], delimiter: str = DELIMITER) -> dict[str, Any]:
    """The inverse of `flatten_dict`: ``{"a/b": 1}`` is ``{"a": {"b": 1}}``.

    Args:
        dt: The flat dict.
        delimiter: What joins keys.

    Raises:
        PathConflict: If a path leads through a value.
    """
    kind = OrderedDict if isinstance(dt, OrderedDict) else dict
    nested: dict[str, Any] = kind()
    for path, value in dt.items():
        *parents, last = path.split(delimiter) if isinstance(path, str) else [path]
        place = nested
        for parent in parents:
            place = place.setdefault(parent, kind())
            if not isinstance(place, dict):
                raise PathConflict(
                    "dt", f"{path!r} leads through {parent!r}, which has a value.", ""
                )
        place[last] = value
    return nested


def unflatten_list_dict(dt: Mapping[str, Any], delimiter: str = DELIMITER) -> Any:
    """The inverse of `flatten_dict(..., flatten_list=True)`: ``{"a/0": 1}`` is ``{"a": [1]}``.

    Args:
        dt: The flat dict.
        delimiter: What joins keys.

    Raises:
        PathConflict: If a path leads through a value.
    """
    return _with_lists(unflatten_dict(dt, delimiter), set(map(id, dt.values())))


def _with_lists(value: Any, leaves: set[int]) -> Any:
    if not isinstance(value, dict) or id(value) in leaves:
        return value
    inner = type(value)((key, _with_lists(item, leaves)) for key, item in value.items())
    positions = [str(position) for position in range(len(inner))]
    if inner and inner.keys() == set(positions):
        return [inner[position] for position in positions]
    return inner


def unflattened_lookup(
    flat_key: str, lookup: Any, delimiter: str = DELIMITER, **kwargs: Any
) -> Any:
    """The value that a flat key leads to in a nested dict or list.

    Args:
        flat_key: Such as ``a/b``; a position in a list is a number.
        lookup: Where to look.
        delimiter: What joins keys.
        **kwargs: `default` is returned if there is no such value.

    Raises:
        KeyError: If there is no such value, or IndexError in a list, and no `default`.
    """
    found = lookup
    try:
        for part in flat_key.split(delimiter):
            found = found[part] if isinstance(found, Mapping) else found[int(part)]
    except (KeyError, IndexError, TypeError, ValueError):
        if "default" in kwargs:
            return kwargs["default"]
        raise
    return found


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """A new dict with both; nested ones are merged, and otherwise the second wins."""
    return deep_update(copy.deepcopy(dict(d1)), d2, new_keys_allowed=True)


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Iterable[str] | None = None,
    override_all_if_type_changes: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Update a nested dict, in place.

    Args:
        original: The dict.
        new_dict: What to put in.
        new_keys_allowed: Whether there may be keys that `original` does not have.
        allow_new_subkey_list: Keys below which there may be in any case.
        override_all_if_type_changes: Keys whose dict is replaced whole if its `type` is another.

    Returns:
        `original`.

    Raises:
        InvalidArgument: If there is a new key where none may be.
    """
    open_keys = set(allow_new_subkey_list or ())
    replaced = set(override_all_if_type_changes or ())
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise InvalidArgument("new_dict", f"{key!r} is not in the original.", "")
        old = original.get(key)
        if not (isinstance(old, dict) and isinstance(value, Mapping)) or (
            key in replaced and "type" in value and value["type"] != old.get("type")
        ):
            original[key] = value
        else:
            deep_update(old, value, new_keys_allowed or key in open_keys)
    return original
