"""HDFS as this package uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: As fsspec calls it over HTTP, and with pyarrow and Hadoop's own client.
WEBHDFS_PROTOCOLS = ("webhdfs", "webHDFS")
ARROW_PROTOCOLS = ("hdfs", "arrow_hdfs")


def webhdfs_file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Make the file system of a URL.

    Args:
        url: ``webhdfs://host:port/path``.
        options: Arguments of fsspec's WebHDFS.

    Returns:
        The file system, and the path on it.
    """
    import fsspec

    fs, path = fsspec.core.url_to_fs(url, **options)
    # fsspec does not look whether a data node has answered with an error, and takes its text for
    # what is in the file.
    fs.session.hooks["response"].append(_refuse_errors)
    return fs, path


def _refuse_errors(response: Any, *arguments: Any, **more: Any) -> None:
    if "op=OPEN" not in response.url:
        return
    if response.status_code == 404:
        raise FileNotFoundError(response.url)
    response.raise_for_status()
