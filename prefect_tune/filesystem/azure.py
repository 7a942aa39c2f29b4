"""Azure Blob Storage as this package uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: As fsspec calls it.
PROTOCOLS = ("az", "abfs", "abfss")


def azure_file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Make the file system of a URL.

    Args:
        url: ``az://container/path``.
        options: Arguments of adlfs.

    Returns:
        The file system, and the path on it.
    """
    import fsspec

    fs, path = fsspec.core.url_to_fs(url, **options)
    _try_once(fs)
    return fs, path


def _try_once(fs: Any) -> None:
    """Leave it to this package to try again: with jitter and limits.

    Azure's client waits a quarter of a minute before its second try, and adlfs has no way to say
    otherwise; a service that is away would be one that takes too long, whatever it is.
    """
    configuration = getattr(fs.service_client, "_config", None)
    policy: Any = getattr(configuration, "retry_policy", None)
    if hasattr(policy, "total_retries"):
        policy.total_retries = 0
