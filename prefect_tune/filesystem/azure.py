"""Azure Blob Storage as this package uses it."""

from __future__ import annotations

from typing import Any

#: As fsspec calls it.
PROTOCOLS = ("az", "abfs", "abfss")


def try_once(fs: Any) -> None:
    """Leave it to this package to try again: with jitter and limits.

    Azure's client waits a quarter of a minute before its second try, and adlfs has no way to say
    otherwise; a service that is away would be one that takes too long, whatever it is.

    Args:
        fs: What adlfs has made.
    """
    configuration = getattr(fs.service_client, "_config", None)
    policy: Any = getattr(configuration, "retry_policy", None)
    if hasattr(policy, "total_retries"):
        policy.total_retries = 0
