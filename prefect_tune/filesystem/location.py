"""`Location`: a URL or path, with the options needed to open it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_LOCAL = "file://"


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
