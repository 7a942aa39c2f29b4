"""Relative paths in a store, and the names of what is not complete yet."""

from __future__ import annotations

import posixpath
import re
import uuid

# As narrow as it can be: files of users may begin with a dot and hold ".tmp-" too.
_TEMPORARY = re.compile(r"\..*\.tmp-[0-9a-f]{8}")


def temporary_name(name: str) -> str:
    """A name beside `name` for what becomes it when it is complete."""
    return f".{name}.tmp-{uuid.uuid4().hex[:8]}"


def is_temporary(relative: str) -> bool:
    """True if a path is, or lies in, something that is not complete."""
    return any(_TEMPORARY.fullmatch(part) for part in relative.split("/"))


def checked(relative: str) -> str:
    """A relative path that stays below where it starts.

    Raises:
        ValueError: If it does not.
    """
    parts = relative.split("/")
    if posixpath.isabs(relative) or ".." in parts or (relative and "" in parts):
        raise ValueError(f"{relative!r} is not a path below the storage")
    return relative


def join(first: str, second: str) -> str:
    """Two relative paths as one; either may be empty."""
    return f"{first}/{second}" if first and second else first or second
