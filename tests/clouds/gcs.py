"""Google Cloud Storage, emulated: gcsfs and its requests are real, credentials are not looked at.

The emulator knows the JSON interface with simple and resumable uploads, and neither gRPC nor the
kinds of buckets that need it.
"""

from __future__ import annotations

import importlib.util
import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.server_process import serving_script

from .bucket import CloudBucket

_MAIN = Path(__file__).with_name("gcs_main.py")


def why_not() -> str:
    """Why it cannot run here; empty if it can."""
    for module, package in (("gcsfs", "gcsfs"), ("gcp_storage_emulator", "gcp-storage-emulator")):
        if importlib.util.find_spec(module) is None:
            return f"{package} is not installed (pip install -r requirements-clouds.txt)"
    return ""


def gcs_process() -> AbstractContextManager[str]:
    """The emulator on a free port of the loopback interface; see `serving_script`."""
    return serving_script(_MAIN, "the emulator of Google's storage")


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
