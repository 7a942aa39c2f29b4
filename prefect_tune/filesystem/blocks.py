"""Storage options in Prefect blocks: loads them by a block's slug, and names them for fsspec."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from prefect_tune.error import InvalidArgument, StorageError, TuneError
from prefect_tune.filesystem.failures import scrub
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.providers import (
    ARROW_PROTOCOLS,
    AZURE_PROTOCOLS,
    GOOGLE_PROTOCOLS,
    S3_PROTOCOLS,
    WEBHDFS_PROTOCOLS,
)

# A name, because this package does not import Prefect.
_BLOCKS = "prefect_tune.blocks"


def resolve_block(slug: str) -> dict[str, Any]:
    """Return the storage options in a block, including secrets.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If the block does not exist or cannot be loaded.
    """
    return _load(slug)[1]


def resolve_location(slug: str) -> Location:
    """Return the location of a block's URL, which refers to the block for its secrets.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If the block does not exist, cannot be loaded or has no URL.
    """
    url, _ = _load(slug)
    if not url:
        raise StorageError(f"the block {slug} has no URL: give it one, such as s3://bucket/path.")
    return Location(url.rstrip("/"), {}, slug)


def _load(slug: str) -> tuple[str, dict[str, Any]]:
    """Return the URL of a block and its options for fsspec."""
    try:
        blocks = importlib.import_module(_BLOCKS)
    except ImportError as error:
        raise StorageError(
            f"a storage block is used, and {_BLOCKS} cannot be imported here: {error}. Install "
            "prefect-tune with Prefect wherever the block is needed."
        ) from error
    try:
        storage = blocks.load_storage(slug)
        return storage.basepath, storage.storage_options()
    except TuneError:
        raise
    except Exception as error:
        # A Prefect client may raise anything if the block or the server is missing.
        raise StorageError(
            f"cannot load the block {slug} ({type(error).__name__}: {scrub(str(error))}). It has "
            "to be saved on the Prefect server that this process uses (PREFECT_API_URL)."
        ) from error


def storage_options(
    protocol: str,
    *,
    key: str | None = None,
    secret: str | None = None,
    token: str | None = None,
    endpoint_url: str | None = None,
    region: str | None = None,
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the options for fsspec, with the names that a protocol's file system uses.

    Args:
        protocol: Such as ``s3``.
        key: Access key id, account or user.
        secret: Secret key, account key or password.
        token: Session token, SAS token or any other token.
        endpoint_url: Address of the service.
        region: Region of the bucket.
        further: Options that are passed on unchanged and override the others.

    Raises:
        InvalidArgument: If `token` begins like the JSON of a key file but is not JSON.
    """
    client = {"region_name": region} if region and protocol in S3_PROTOCOLS else None
    if protocol in S3_PROTOCOLS:
        named: dict[str, Any] = {
            "key": key,
            "secret": secret,
            "token": token,
            "endpoint_url": endpoint_url,
            "client_kwargs": client,
        }
    elif protocol in GOOGLE_PROTOCOLS:
        named = {"endpoint_url": endpoint_url, "default_location": region}
        named["token"] = _google_token(token)
    elif protocol in (*AZURE_PROTOCOLS, "adl"):
        named = _azure(key, secret, token, endpoint_url)
    elif protocol in (*ARROW_PROTOCOLS, *WEBHDFS_PROTOCOLS):
        named = {"user": key, "password": secret, "token": token}
    else:
        named = {"username": key, "password": secret, "token": token, "endpoint_url": endpoint_url}
    given = {name: value for name, value in named.items() if value is not None}
    return {**given, **(further or {})}


def _google_token(token: str | None) -> Any:
    """Return a token in the form that gcsfs expects: a key file's text becomes a dict."""
    if token is None or not token.lstrip().startswith("{"):
        return token
    try:
        return json.loads(token)
    except ValueError:
        # Without the cause, whose message has the secret text.
        raise InvalidArgument(
            "token",
            "it begins like the JSON of a key file but is not JSON.",
            "Give the whole file, its path, or a token.",
        ) from None


def _azure(
    key: str | None, secret: str | None, token: str | None, endpoint_url: str | None
) -> dict[str, Any]:
    if endpoint_url is None:
        return {"account_name": key, "account_key": secret, "sas_token": token}
    url = endpoint_url if "://" in endpoint_url else f"https://{endpoint_url}"
    parts = urlsplit(url)
    account = key or parts.netloc.partition(".")[0]
    if secret is None and token is None:
        # adlfs finds this machine's own identity, which is sent over https only.
        return {"account_name": account, "account_host": parts.netloc + parts.path.rstrip("/")}
    # For a host, adlfs assumes https and no path; other services use http and paths.
    named = {
        "DefaultEndpointsProtocol": parts.scheme,
        "AccountName": account,
        "AccountKey": secret,
        "SharedAccessSignature": token.removeprefix("?") if token else None,
        "BlobEndpoint": url.rstrip("/"),
    }
    text = ";".join(f"{name}={value}" for name, value in named.items() if value is not None)
    return {"connection_string": text}
