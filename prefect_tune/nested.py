"""Nested results as flat ones, keys joined by ``/``."""

from __future__ import annotations

from typing import Any

DELIMITER = "/"


def flatten(result: dict[str, Any]) -> dict[str, Any]:
    """Join nested keys by ``/``; `config` is left as it is.

    Returns the very same dict if nothing is nested, which is what most results are like.
    """
    for key, value in result.items():
        if isinstance(value, dict) and key != "config":
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
