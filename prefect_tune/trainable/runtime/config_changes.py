"""Finds entries of the configuration that user code has changed; results show them, as in Ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

#: Longer lists are not compared by item, so that reports stay fast.
_LONGEST_LIST = 64
_LONGEST_TEXT = 4096
_PLAIN = (str, int, float, bool, type(None))
_SMALL = (int, float, bool, type(None), np.generic, PurePath)


def copy_of_containers(value: Any) -> Any:
    """Copy nested dicts and short lists; their values are shared, not copied.

    Instances of dict subclasses, which may have attributes for their entries, are not copied.

    Args:
        value: Usually a configuration.
    """
    if type(value) is dict:
        return {key: copy_of_containers(item) for key, item in value.items()}
    if type(value) is list and len(value) <= _LONGEST_LIST:
        return [copy_of_containers(item) for item in value]
    return value


class ConfigChanges:
    """Compares a configuration with its state at the start of an attempt.

    Args:
        config: The configuration, which user code may change later.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._before = copy_of_containers(config)

    def entries(self, config: Any) -> dict[str, Any]:
        """Return the entries that were added or changed since the start; removed ones do not count.

        Large values, such as data sets and models, are left out, because every report repeats them.

        Args:
            config: The configuration as it is now.
        """
        if not isinstance(config, dict):
            return {}
        before = self._before
        return {
            key: value
            for key, value in config.items()
            if (key not in before or not _same(value, before[key])) and _is_small(value)
        }


def complete(result: dict[str, Any], constants: Mapping[str, Any]) -> None:
    """Add the constant metrics of an attempt to one of its results.

    Args:
        result: A result as the trial sent it, with only the changed entries in `config`.
        constants: Configuration, ids, host and process of the attempt.
    """
    changed = result.get("config")
    result.update(constants)
    if changed:
        result["config"] = {**constants["config"], **changed}


def _same(now: Any, before: Any) -> bool:
    if now is before:
        return True
    if isinstance(now, dict) and isinstance(before, dict):
        return len(now) == len(before) and all(
            key in before and _same(value, before[key]) for key, value in now.items()
        )
    if type(now) is list and type(before) is list:
        return len(now) == len(before) and all(map(_same, now, before))
    return type(now) is type(before) and isinstance(now, _PLAIN) and now == before


def _is_small(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, dict):
        return len(value) <= _LONGEST_LIST and all(map(_is_small, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) <= _LONGEST_LIST and all(map(_is_small, value))
    return isinstance(value, _SMALL)
