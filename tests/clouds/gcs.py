"""Google Cloud Storage, emulated: gcsfs and its requests are real, credentials are not looked at.

The emulator knows the JSON interface with simple and resumable uploads, and neither gRPC nor the
kinds of buckets that need it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .bucket import CloudBucket

_MAIN = Path(__file__).with_name("gcs_main.py")


def why_not() -> str:
    """Why it cannot run here; empty if it can."""
    for module, package in (("gcsfs", "gcsfs"), ("gcp_storage_emulator", "gcp-storage-emulator")):
        if importlib.util.find_spec(module) is None:
            return f"{package} is not installed (pip install -r requirements-clouds.txt)"
    return ""


@contextlib.contextmanager
def gcs_process() -> Iterator[str]:
    """The emulator on a free port of the loopback interface.

    Yields:
        Its URL.

    Raises:
        RuntimeError: If it does not come up, with what it printed.
    """
    with subprocess.Popen(
        # -P: the script's directory is no place to import from.
        [sys.executable, "-P", str(_MAIN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the emulator did not start:\n{process.communicate()[1]}")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def fresh_gcs_bucket(server: str) -> CloudBucket:
    """A new bucket; it ends with the emulator."""
    name = f"test-{uuid.uuid4().hex}"
    _ask(server, "b?project=test", {"name": name})
    return CloudBucket(
        url=f"gs://{name}",
        server=server,
        options={"token": "anon", "endpoint_url": server},
        # With no credentials and not on Google's machines, gcsfs goes on without.
        environ={"STORAGE_EMULATOR_HOST": server, "NO_GCE_CHECK": "true"},
        block={"token": "anon", "endpoint_url": server},
        buckets=lambda: [item["name"] for item in _ask(server, "b?project=test")["items"]],
        keys=lambda: sorted(_keys(server, name)),
    )


def _keys(server: str, bucket: str) -> Iterator[str]:
    page = ""
    while True:
        answer = _ask(server, f"b/{bucket}/o?pageToken={quote(page)}")
        yield from (item["name"] for item in answer.get("items", ()))
        page = answer.get("nextPageToken", "")
        if not page:
            return


def _ask(server: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server}/storage/v1/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
