"""Azure Blob Storage: Azurite, Microsoft's own server for tests. It checks signatures."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.server_process import await_end

from .bucket import CloudBucket

#: The command, if it is not on the PATH.
COMMAND = "PREFECT_TUNE_TEST_AZURITE"
#: The account that Azurite has, and its key, as its documentation gives them.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_LISTENS = re.compile(rb"listens on (http://[0-9.:]+)")


def why_not() -> str:
    """Why it cannot run here; empty if it can."""
    if importlib.util.find_spec("adlfs") is None:
        return "adlfs is not installed (pip install -r requirements-clouds.txt)"
    if _command() is None:
        return f"Azurite is not installed (npm install -g azurite, or {COMMAND}=.../azurite-blob)"
    return ""


@contextlib.contextmanager
def azurite_process(directory: Path) -> Iterator[str]:
    """Azurite's blob service on a free port of the loopback interface.

    Args:
        directory: Takes its log; its data stay in memory.

    Yields:
        URL of the account.

    Raises:
        RuntimeError: If it does not come up, with what it printed.
    """
    command = _command()
    assert command is not None
    with (directory / "azurite.log").open("wb") as log:
        process = subprocess.Popen(
            [
                command,
                *("--blobHost", "127.0.0.1", "--blobPort", "0"),
                *("--inMemoryPersistence", "--extentMemoryLimit", "1024"),
                # Clients are ahead of it: they ask for newer versions of the interface.
                *("--skipApiVersionCheck", "--silent", "--disableTelemetry"),
            ],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line.decode(errors="replace"))
            address = _LISTENS.search(line)
            if address:
                break
        else:
            raise RuntimeError(
                f"Azurite did not start; see its log in {directory}:\n{''.join(said)}"
            )
        yield f"{address[1].decode()}/{ACCOUNT}"
    finally:
        process.terminate()
        await_end(process)


def fresh_azure_bucket(account: str) -> CloudBucket:
    """A new container; it ends with the server.

    Args:
        account: URL of the account.
    """
    from azure.storage.blob import BlobServiceClient

    text = connection_string(account)
    client = BlobServiceClient.from_connection_string(text)
    name = f"test-{uuid.uuid4().hex}"
    container = client.create_container(name)
    return CloudBucket(
        url=f"az://{name}",
        server=account.removesuffix(f"/{ACCOUNT}"),
        options={"connection_string": text},
        environ={"AZURE_STORAGE_CONNECTION_STRING": text},
        block={"key": ACCOUNT, "secret": ACCOUNT_KEY, "endpoint_url": account},
        buckets=lambda: [one.name for one in client.list_containers()],
        keys=lambda: sorted(container.list_blob_names()),
    )


def connection_string(account: str, key: str = ACCOUNT_KEY) -> str:
    """What names a service, an account and its key to Azure's libraries."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint={account};"
    )


def read_only_token(container: str) -> str:
    """A SAS token with which a container may be read and listed, for an hour."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    return generate_container_sas(
        ACCOUNT,
        container,
        account_key=ACCOUNT_KEY,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
        version="2025-01-05",  # the newest that Azurite knows how to check is behind the client's
    )


def _command() -> str | None:
    return os.environ.get(COMMAND) or shutil.which("azurite-blob")
