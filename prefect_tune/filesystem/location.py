"""Where files are: a URL and whatever is needed to open it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_LOCAL = "file://"


def is_absolute(path: str) -> bool:
    """True for a URL or an absolute local path, which is relative to no experiment directory."""
    return "://" in path or os.path.isabs(path)


@dataclass(frozen=True, slots=True)
class Location:
    """A directory on some file system.

    It travels to the nodes of a cluster and into messages, so it holds no secrets that a block can
    hold: a node loads the block by its slug.

    Attributes:
        url: ``s3://bucket/prefix`` or any other URL that fsspec knows, or an absolute local path;
            never ends with ``/``.
        options: What the file system is made with (fsspec's storage options).
        block: Slug of the saved Prefect block (``tune-storage/NAME``) that adds to the options.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    block: str | None = None

    def __truediv__(self, relative: str) -> Location:
        """The location of something below."""
        return replace(self, url=posixpath.join(self.url, relative)) if relative else self

    @property
    def is_local(self) -> bool:
        """True for a path of this machine's own file systems."""
        return "://" not in self.url or self.url.startswith(_LOCAL)

    @property
    def path(self) -> str:
        """The local path.

        Raises:
            ValueError: If it is not local.
        """
        if not self.is_local:
            raise ValueError(f"{self.url} is not a local path")
        return self.url.removeprefix(_LOCAL)

    def __str__(self) -> str:
        return self.url
