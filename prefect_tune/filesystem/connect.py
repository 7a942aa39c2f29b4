"""Creates the fsspec file system of a location, once per process."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any
from urllib.parse import urlsplit

from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.filesystem.blocks import resolve_block
from prefect_tune.filesystem.failures import scrub
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.providers import (
    ARROW_PROTOCOLS,
    AZURE_PROTOCOLS,
    GOOGLE_PROTOCOLS,
    S3_PROTOCOLS,
    WEBHDFS_PROTOCOLS,
    disable_azure_retries,
    google_file_system,
    raise_webhdfs_errors,
)

#: Modules that fsspec imports only when it creates a file system.
LATE_IMPORTS = dict.fromkeys(ARROW_PROTOCOLS, "pyarrow")

_ConnectionKey = tuple[str, str, str | None]
_lock = threading.Lock()
_file_systems: dict[_ConnectionKey, Any] = {}


def connect(location: Location) -> tuple[Any, str]:
    """Return the file system of a remote location, and the location's path on it.

    A process creates one file system for the same host, options and block. After a fork a new one
    is created, because thread and connections belong to the parent process.

    Raises:
        InvalidArgument: If fsspec does not know the protocol.
        StorageError: If its package is not installed or the options are wrong.
    """
    parts = urlsplit(location.url)
    options = repr(sorted(location.options.items()))
    key = (f"{parts.scheme}://{parts.netloc}", options, location.block)
    with _lock:
        found = _file_systems.get(key)
        if found is None:
            found = _file_systems[key] = _make_file_system(location, parts.scheme)
    return found, found._strip_protocol(location.url)


def protocol_of(location: Location) -> str:
    """Return the protocol of a remote location, such as ``s3``."""
    return urlsplit(location.url).scheme


def check_protocol(protocol: str, argument: str) -> None:
    """Check that fsspec knows a protocol and that its package is installed.

    Args:
        protocol: Such as ``s3``.
        argument: Name of the argument, for errors.

    Raises:
        InvalidArgument: If fsspec does not know it or its package is missing.
    """
    import fsspec
    from fsspec.registry import known_implementations

    try:
        fsspec.get_filesystem_class(protocol)
        if protocol in LATE_IMPORTS:
            importlib.import_module(LATE_IMPORTS[protocol])
    except ValueError:
        raise InvalidArgument(
            argument,
            f"no file system is known for {protocol}://.",
            "Give a local path or a URL that fsspec knows, such as s3://bucket/path.",
        ) from None
    except ImportError as error:
        known = known_implementations.get(protocol, {})
        package = LATE_IMPORTS.get(protocol) or known.get("class", "").partition(".")[0]
        # fsspec's own file systems say themselves what they need.
        advice = str(error) if package in ("", "fsspec") else f"pip install {package}"
        raise InvalidArgument(
            argument, f"{protocol}:// needs a package that is not installed here.", f"{advice}."
        ) from error


def _make_file_system(location: Location, protocol: str) -> Any:
    """Make the file system of a location with fsspec, with the options that it needs here."""
    check_protocol(protocol, "storage_path")
    options: dict[str, Any] = resolve_block(location.block) if location.block else {}
    options |= location.options
    if protocol in S3_PROTOCOLS:
        options = _s3_options(options)
    # Listings must show what other processes have written; and fsspec's own cache of file systems
    # could return one that other code has configured.
    options |= {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        fs = _open(location.url, protocol, options)
    except (TypeError, ValueError, KeyError) as error:
        raise StorageError(
            f"cannot open {location.url} with these storage options ({_redacted(error, options)}). "
            f"They are the arguments of fsspec's file system for {protocol}://."
        ) from None
    if protocol in S3_PROTOCOLS:
        fs.retries = 1  # this package retries itself, with jitter and limits
    return fs


def _open(url: str, protocol: str, options: dict[str, Any]) -> Any:
    import fsspec

    if protocol in GOOGLE_PROTOCOLS:
        return google_file_system(url, options)
    fs, _ = fsspec.core.url_to_fs(url, **options)
    if protocol in AZURE_PROTOCOLS:
        disable_azure_retries(fs)
    elif protocol in WEBHDFS_PROTOCOLS:
        raise_webhdfs_errors(fs)
    return fs


def _s3_options(options: dict[str, Any]) -> dict[str, Any]:
    config = {
        "connect_timeout": 10,
        "read_timeout": 30,
        "max_pool_connections": 32,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    client = options.get("client_kwargs") or {}
    if options.get("endpoint_url") or client.get("endpoint_url"):
        # Many S3 services other than AWS do not support newer kinds of checksums.
        config["request_checksum_calculation"] = "when_required"
        config["response_checksum_validation"] = "when_required"
    return {**options, "config_kwargs": {**config, **(options.get("config_kwargs") or {})}}


def _redacted(error: Exception, options: dict[str, Any]) -> str:
    """Return the text of an error without the values of options, which may be secret."""
    text = scrub(str(error))
    for value in options.values():
        if isinstance(value, str) and len(value) > 3:
            text = text.replace(value, "***")
    return f"{type(error).__name__}: {text}"


def _reset_after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _file_systems.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
