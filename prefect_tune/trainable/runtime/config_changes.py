"""What user code changes in its configuration, so that results show it as Ray Tune's do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

#: Longer lists are looked at as a whole: a report must not take longer for them.
_LONGEST_LIST = 64
_LONGEST_TEXT = 4096
_PLAIN = (str, int, float, bool, type(None))
_SMALL = (int, float, bool, type(None), np.generic, PurePath)


def copy_of_containers(value: Any) -> Any:
    """A copy of nested dicts and short lists; what is in them is shared, not copied.

    Dicts of other classes, which may have attributes for their entries, are left alone.

    Args:
        value: Usually a configuration.
    """
    if type(value) is dict:
        return {key: copy_of_containers(item) for key, item in value.items()}
    if type(value) is list and len(value) <= _LONGEST_LIST:
        return [copy_of_containers(item) for item in value]
    return value


class ConfigChanges:
    """Knows what a configuration was at the start of an attempt.

    Args:
        config: The configuration, which user code may change later.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._before = copy_of_containers(config)

    def entries(self, config: Any) -> dict[str, Any]:
        """The entries that were added or changed since then; those that are gone do not count.

        Every report would carry them, so data sets, models and the like are left out.

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
    """Add to a result what is the same in all results of its attempt.

    Args:
        result: As it has come from the trial; a `config` in it has the changed entries only.
        constants: Configuration, ids and place of the attempt.
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
