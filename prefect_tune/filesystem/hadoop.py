"""HDFS as this package uses it."""

from __future__ import annotations

from typing import Any

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
