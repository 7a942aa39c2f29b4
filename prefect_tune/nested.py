"""Converts nested dicts into flat ones with keys joined by ``/``, and back."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument

DELIMITER = "/"
# Most values have one of these types; a look-up is faster than `isinstance`.
_FLAT = frozenset({float, int, str, bool, type(None)})


def flatten(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with nested keys joined by ``/``; `config` is left nested.

    Most results have nothing nested: then the same dict is returned.
    """
    for key, value in result.items():
        if type(value) not in _FLAT and isinstance(value, dict) and key != "config":
            break
    else:
        return result
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, dict) and key != "config":
            _flatten_into(flat, key, value)
        else:
            flat[key] = value
    return flat


def _flatten_into(flat: dict[str, Any], prefix: str, nested: dict[Any, Any]) -> None:
    for key, value in nested.items():
        path = f"{prefix}{DELIMITER}{key}"
        if isinstance(value, dict):
            _flatten_into(flat, path, value)
        else:
            flat[path] = value


class PathConflict(InvalidArgument, TypeError):
    """Raised if a flat key such as ``a/b`` leads through a value; in Ray Tune a TypeError."""


def flatten_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the keys of nested mappings joined by ``/``; keep empty ones."""
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
    """Return a nested dict as a flat one: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``.

    Empty dicts are dropped. From an `OrderedDict` an `OrderedDict` is made.

    Args:
        dt: The nested dict.
        delimiter: The string between joined keys.
        prevent_delimiter: Whether keys that contain the delimiter are an error.
        flatten_list: Whether lists are flattened, too, by position.

    Raises:
        InvalidArgument: If a key contains the delimiter, and `prevent_delimiter`.
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
    """Return a flat dict as a nested one: ``{"a/b": 1}`` becomes ``{"a": {"b": 1}}``.

    Args:
        dt: The flat dict.
        delimiter: The string between joined keys.

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
    """Return a flat dict as a nested one with lists: ``{"a/0": 1}`` becomes ``{"a": [1]}``.

    Args:
        dt: The flat dict.
        delimiter: The string between joined keys.

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
    """Return the value that a flat key names in a nested dict or list.

    Args:
        flat_key: The key, such as ``a/b``; a position in a list is a number.
        lookup: The nested dict or list.
        delimiter: The string between joined keys.
        **kwargs: `default`, the value to return if there is none.

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
    """Return a new dict with the items of both; nested dicts are merged, else the second wins."""
    return deep_update(copy.deepcopy(dict(d1)), d2, new_keys_allowed=True)


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Iterable[str] | None = None,
    override_all_if_type_changes: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Update a nested dict in place with the items of another.

    Args:
        original: The dict to change.
        new_dict: The new items.
        new_keys_allowed: Whether `new_dict` may have keys that `original` lacks.
        allow_new_subkey_list: Keys below which new keys are allowed in any case.
        override_all_if_type_changes: Keys whose whole dict is replaced if its `type` changes.

    Returns:
        `original`.

    Raises:
        InvalidArgument: If `new_dict` has a new key where none is allowed.
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
