"""Google Cloud Storage as this package uses it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import StorageError

#: As fsspec calls it.
GOOGLE_PROTOCOLS = ("gs", "gcs")
#: Says where an emulator is, to all of Google's libraries.
EMULATOR = "STORAGE_EMULATOR_HOST"


def google_file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Make the file system of a URL.

    Args:
        url: ``gs://bucket/path``.
        options: Arguments of gcsfs.

    Returns:
        The file system, and the path on it.

    Raises:
        StorageError: If the key file is not on this machine.
    """
    import fsspec

    options = {**options, **_key_file(options.get("token"))}
    if _speaks_http_only(options):
        # gcsfs asks with gRPC, encrypted, of what kind a bucket is, and where only HTTP is spoken
        # nobody answers for a minute. The class without that is all that there can be then.
        from gcsfs.core import GCSFileSystem

        fs, path = GCSFileSystem(**options), GCSFileSystem._strip_protocol(url)
    else:
        fs, path = fsspec.core.url_to_fs(url, **options)
    _try_google_once(fs)
    return fs, path


def _key_file(token: Any) -> dict[str, str]:
    """The option of a key file; gcsfs would take one that is not there for a token, and send it."""
    if not isinstance(token, str) or not token.startswith(("/", "~", "./", "../")):
        return {}
    path = os.path.expanduser(token)
    if not os.path.exists(path):
        raise StorageError(
            f"there is no key file {token} on this machine. Give a path that is there on every "
            "node, or the text of the file as the token of a TuneStorage block."
        )
    return {"token": path}


def _speaks_http_only(options: Mapping[str, Any]) -> bool:
    endpoint = str(options.get("endpoint_url") or "")
    if endpoint:
        return endpoint.startswith("http://")
    emulator = os.environ.get(EMULATOR, "")
    return emulator not in ("", "default") and not emulator.startswith("https://")


def _try_google_once(fs: Any) -> None:
    """Leave it to this package to try again: with jitter and limits.

    gcsfs takes half a minute for its six tries and knows no other number; even credentials that are
    wrong would look like a store that does not answer.
    """
    request = getattr(type(fs)._request, "__wrapped__", None)
    if request is not None:
        fs._request = functools.partial(request, fs)


#: As fsspec calls it.
AZURE_PROTOCOLS = ("az", "abfs", "abfss")


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


#: As fsspec calls it over HTTP, and with pyarrow and Hadoop's own client.
WEBHDFS_PROTOCOLS = ("webhdfs", "webHDFS")
ARROW_PROTOCOLS = ("hdfs", "arrow_hdfs")


def refuse_errors(fs: Any) -> None:
    """Have what a data node says of an error raised.

    fsspec does not look whether it has answered with one, and takes its text for what is in the
    file.

    Args:
        fs: fsspec's WebHDFS.
    """
    fs.session.hooks["response"].append(_raise_error)


def _raise_error(response: Any, *arguments: Any, **more: Any) -> None:
    if "op=OPEN" not in response.url:
        return
    if response.status_code == 404:
        raise FileNotFoundError(response.url)
    response.raise_for_status()
