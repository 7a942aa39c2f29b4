"""Creates the store of a location."""

from __future__ import annotations

import threading

from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import Limits, OutageWatch
from prefect_tune.filesystem.store import Store


def open_store(
    location: Location,
    limits: Limits | None = None,
    cancelled: threading.Event | None = None,
    watch: OutageWatch | None = None,
) -> Store:
    """Return the store for a location, without making a request to it.

    Args:
        location: The directory, local or remote.
        limits: Time limits of requests; None is `Limits()`.
        cancelled: Once it is set, requests that wait for a retry fail at once.
        watch: Is notified of outages.

    Raises:
        InvalidArgument: If fsspec does not know the URL's protocol, or its package is missing.
    """
    limits = limits or Limits()
    if location.is_local:
        from prefect_tune.filesystem.local import LocalStore

        return LocalStore(location, limits, cancelled, watch)
    from prefect_tune.filesystem.connect import S3_PROTOCOLS, check_protocol, protocol_of
    from prefect_tune.filesystem.remote import RemoteStore

    protocol = protocol_of(location)
    check_protocol(protocol, "storage_path")
    if protocol in S3_PROTOCOLS:
        from prefect_tune.filesystem.s3 import S3Backend

        return RemoteStore(location, S3Backend(location), limits, cancelled, watch)
    from prefect_tune.filesystem.fsspec_backend import FsspecBackend

    return RemoteStore(location, FsspecBackend(location), limits, cancelled, watch)
