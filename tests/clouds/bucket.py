"""A place in an object store that is not S3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class CloudBucket:
    """A bucket that one test has for itself.

    Attributes:
        url: `gs://NAME` or `az://NAME`.
        server: Where the service is: `http://HOST:PORT`.
        options: fsspec's storage options; can be written as JSON.
        environ: Variables for a process that is to use this service without options.
        block: Fields of a `TuneStorage` block that mean the same.
        buckets: Names of all buckets of the service.
        keys: Sorted keys of all objects in this one.
    """

    url: str
    server: str
    options: Mapping[str, Any]
    environ: Mapping[str, str]
    block: Mapping[str, Any] = field(repr=False)
    buckets: Callable[[], list[str]]
    keys: Callable[[], list[str]]

    @property
    def missing(self) -> str:
        """URL of a bucket that does not exist."""
        return self.url + "-missing"

    def at(self, server: str) -> CloudBucket:
        """The same place by another road, for example through a proxy."""
        options = {name: value.replace(self.server, server) for name, value in self.options.items()}
        return replace(self, server=server, options=options, environ={}, block={})
