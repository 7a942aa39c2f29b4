"""`Location`: a URL or path, with the options needed to open it; and paths relative to one."""

from __future__ import annotations

import os
import posixpath
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_LOCAL = "file://"
# Strict, because users' files may also begin with a dot and contain ".tmp-".
_TEMPORARY = re.compile(r"\..*\.tmp-[0-9a-f]{8}")


def is_absolute(path: str) -> bool:
    """Return True for a URL or absolute path, False for one relative to an experiment directory."""
    return "://" in path or os.path.isabs(path)


@dataclass(frozen=True, slots=True)
class Location:
    """Directory on a local or remote file system.

    A location is sent to the nodes of a cluster and may be printed, so it contains no secrets of a
    block: a node loads the block by its slug.

    Attributes:
        url: ``s3://bucket/prefix`` or any other URL that fsspec knows, or an absolute local path;
            never ends with ``/``.
        options: fsspec's storage options, with which the file system is created.
        block: Slug of a saved Prefect block (``tune-storage/NAME``) with further options.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    block: str | None = None

    def __truediv__(self, relative: str) -> Location:
        """Return the location of a file or directory below this one."""
        return replace(self, url=posixpath.join(self.url, relative)) if relative else self

    @property
    def is_local(self) -> bool:
        """True if the location is a path on this machine."""
        return "://" not in self.url or self.url.startswith(_LOCAL)

    @property
    def path(self) -> str:
        """The local path.

        Raises:
            ValueError: If the location is remote.
        """
        if not self.is_local:
            raise ValueError(f"{self.url} is not a local path")
        return self.url.removeprefix(_LOCAL)

    def __str__(self) -> str:
        return self.url


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
