"""Workarounds for the fsspec file systems of Google Cloud Storage, Azure and WebHDFS."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import StorageError

#: Names of protocols in URLs.
S3_PROTOCOLS = ("s3", "s3a")
GOOGLE_PROTOCOLS = ("gs", "gcs")
#: Environment variable with the address of an emulator, read by all of Google's libraries.
EMULATOR = "STORAGE_EMULATOR_HOST"


def google_file_system(url: str, options: Mapping[str, Any]) -> Any:
    """Create the file system of a Google Cloud Storage URL.

    Args:
        url: ``gs://bucket/path``.
        options: Arguments of gcsfs.

    Raises:
        StorageError: If the key file does not exist on this machine.
    """
    import fsspec

    options = {**options, **_key_file(options.get("token"))}
    if _speaks_http_only(options):
        # gcsfs asks for a bucket's type over encrypted gRPC, which takes a minute to fail at a
        # service that speaks plain HTTP only. The base class does not ask.
        from gcsfs.core import GCSFileSystem

        fs = GCSFileSystem(**options)
    else:
        fs, _ = fsspec.core.url_to_fs(url, **options)
    _disable_google_retries(fs)
    return fs


def _key_file(token: Any) -> dict[str, str]:
    """Check and expand a key file's path; gcsfs would send a missing file's path as a token."""
    if not isinstance(token, str) or not token.startswith(("/", "~", "./", "../")):
        return {}
    path = os.path.expanduser(token)
    if not os.path.exists(path):
        raise StorageError(
            f"there is no key file {token} on this machine. Give a path that exists on every "
            "node, or the text of the file as the token of a TuneStorage block."
        )
    return {"token": path}


def _speaks_http_only(options: Mapping[str, Any]) -> bool:
    endpoint = str(options.get("endpoint_url") or "")
    if endpoint:
        return endpoint.startswith("http://")
    emulator = os.environ.get(EMULATOR, "")
    return emulator not in ("", "default") and not emulator.startswith("https://")


def _disable_google_retries(fs: Any) -> None:
    """Let a gcsfs file system try each request once.

    gcsfs always tries six times in half a minute, so that even wrong credentials look like a store
    that does not answer. This package retries itself, with jitter and limits.
    """
    request = getattr(type(fs)._request, "__wrapped__", None)
    if request is not None:
        fs._request = functools.partial(request, fs)


AZURE_PROTOCOLS = ("az", "abfs", "abfss")


def disable_azure_retries(fs: Any) -> None:
    """Let an adlfs file system try each request once.

    Azure's client waits 15 s before its second try, and adlfs has no option for that, so that every
    outage would look like a slow service. This package retries itself, with jitter and limits.

    Args:
        fs: The file system of adlfs.
    """
    configuration = getattr(fs.service_client, "_config", None)
    policy: Any = getattr(configuration, "retry_policy", None)
    if hasattr(policy, "total_retries"):
        policy.total_retries = 0


#: fsspec's names for HDFS over HTTP, and below for HDFS with pyarrow and Hadoop's client.
WEBHDFS_PROTOCOLS = ("webhdfs", "webHDFS")
ARROW_PROTOCOLS = ("hdfs", "arrow_hdfs")


def raise_webhdfs_errors(fs: Any) -> None:
    """Let WebHDFS raise an exception if a data node answers a read with an error.

    fsspec does not check the status of that answer, and returns the text of the error as the
    content of the file.

    Args:
        fs: fsspec's WebHDFS file system.
    """
    fs.session.hooks["response"].append(_raise_error)


def _raise_error(response: Any, *arguments: Any, **more: Any) -> None:
    if "op=OPEN" not in response.url:
        return
    if response.status_code == 404:
        raise FileNotFoundError(response.url)
    response.raise_for_status()
