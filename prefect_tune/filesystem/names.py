"""Relative paths in a store, and names of temporary files."""

from __future__ import annotations

import posixpath
import re
import uuid

# Strict, because users' files may also begin with a dot and contain ".tmp-".
_TEMPORARY = re.compile(r"\..*\.tmp-[0-9a-f]{8}")


def temporary_name(name: str) -> str:
    """Return a temporary name for a file that will be renamed to `name` when it is complete."""
    return f".{name}.tmp-{uuid.uuid4().hex[:8]}"


def is_temporary(relative: str) -> bool:
    """Return True if a path is a temporary file or lies in a temporary directory."""
    return any(_TEMPORARY.fullmatch(part) for part in relative.split("/"))


def check_relative(relative: str) -> str:
    """Return a relative path unchanged after checking that it does not leave its base.

    Raises:
        ValueError: If the path is absolute, or has ``..`` or empty parts.
    """
    parts = relative.split("/")
    if posixpath.isabs(relative) or ".." in parts or (relative and "" in parts):
        raise ValueError(f"{relative!r} is not a path below the storage")
    return relative


def join(first: str, second: str) -> str:
    """Join two relative paths, either of which may be empty."""
    return f"{first}/{second}" if first and second else first or second
