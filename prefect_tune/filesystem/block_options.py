"""Converts the fields of a storage block into options for fsspec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.connect import S3_PROTOCOLS
from prefect_tune.filesystem.providers import (
    ARROW_PROTOCOLS,
    AZURE_PROTOCOLS,
    GOOGLE_PROTOCOLS,
    WEBHDFS_PROTOCOLS,
)


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
