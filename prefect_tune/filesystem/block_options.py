"""From the fields of a storage block to the options of the file system that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_S3 = {"s3", "s3a"}
_GOOGLE = {"gs", "gcs"}
_AZURE = {"az", "abfs", "abfss", "adl"}


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
    """Options for fsspec, under the names that the file system of a protocol gives them.

    Args:
        protocol: Such as ``s3``.
        key: Access key id, account or user.
        secret: Secret key, account key or password.
        token: Session token, SAS token or token.
        endpoint_url: Address of the service.
        region: Region of the bucket.
        further: Options that are passed on as they are and win.
    """
    client = {"region_name": region} if region and protocol in _S3 else None
    if protocol in _S3:
        named: dict[str, Any] = {
            "key": key,
            "secret": secret,
            "token": token,
            "endpoint_url": endpoint_url,
            "client_kwargs": client,
        }
    elif protocol in _GOOGLE:
        named = {"token": token, "endpoint_url": endpoint_url, "default_location": region}
    elif protocol in _AZURE:
        named = {"account_name": key, "account_key": secret, "sas_token": token}
        named["account_host"] = endpoint_url
    else:
        named = {"username": key, "password": secret, "token": token, "endpoint_url": endpoint_url}
    given = {name: value for name, value in named.items() if value is not None}
    return {**given, **(further or {})}
