"""An S3 service and places in it."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

#: `s3://bucket` or `s3://bucket/prefix` of one's own, to be used in place of moto.
OWN_URL = "PREFECT_TUNE_TEST_S3_URL"


@dataclass(frozen=True)
class Endpoint:
    """How to reach an S3 service.

    Attributes:
        url: `http://127.0.0.1:PORT`; None for whatever the AWS variables of this process say.
        key: Access key; None as above.
        secret: Secret key; None as above.
        region: Region to sign for; None as above.
    """

    url: str | None
    key: str | None = None
    secret: str | None = field(default=None, repr=False)
    region: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """fsspec's storage options for this service; can be written as JSON."""
        options: dict[str, Any] = {}
        if self.url is not None:
            options["endpoint_url"] = self.url
        if self.key is not None:
            options.update(key=self.key, secret=self.secret)
        if self.region is not None:
            options["client_kwargs"] = {"region_name": self.region}
        return options

    @property
    def environ(self) -> dict[str, str]:
        """The AWS variables for a process that is to use this service without options."""
        given = {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
        }
        return {name: value for name, value in given.items() if value is not None}

    def client(self) -> Any:
        """A botocore client, for what a test does behind the package's back."""
        return _client(self)


@functools.cache
def _client(endpoint: Endpoint) -> Any:
    # Cached, since making one takes a fifth of a second.
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.region,
    )


@dataclass(frozen=True)
class Bucket:
    """A place in a bucket that one test has for itself.

    Attributes:
        endpoint: The service.
        name: The bucket's name.
        prefix: Path within the bucket; empty if the whole bucket is the test's.
    """

    endpoint: Endpoint
    name: str
    prefix: str = ""

    @property
    def url(self) -> str:
        """`s3://bucket` or `s3://bucket/prefix`."""
        return "s3://" + "/".join(filter(None, (self.name, self.prefix)))

    @property
    def options(self) -> dict[str, Any]:
        """fsspec's storage options."""
        return self.endpoint.options

    def at(self, endpoint: Endpoint) -> Bucket:
        """The same place by another road, for example through a proxy."""
        return replace(self, endpoint=endpoint)

    def keys(self, below: str = "") -> list[str]:
        """Sorted keys of all objects whose path in this place begins with `below`."""
        client = self.endpoint.client()
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=self._key(below)
        )
        cut = len(self._key(""))
        return sorted(item["Key"][cut:] for page in pages for item in page.get("Contents", ()))

    def read(self, path: str) -> bytes:
        """The content of one object."""
        answer = self.endpoint.client().get_object(Bucket=self.name, Key=self._key(path))
        body: bytes = answer["Body"].read()
        return body

    def write(self, path: str, data: bytes) -> None:
        """Write one object."""
        self.endpoint.client().put_object(Bucket=self.name, Key=self._key(path), Body=data)

    def remove(self, path: str) -> None:
        """Delete one object."""
        self.endpoint.client().delete_object(Bucket=self.name, Key=self._key(path))

    def clear(self) -> None:
        """Delete everything, also uploads that were never completed."""
        client = self.endpoint.client()
        # One by one: bulk deletion is what S3 implementations agree on least.
        for path in self.keys():
            client.delete_object(Bucket=self.name, Key=self._key(path))
        uploads = client.list_multipart_uploads(Bucket=self.name, Prefix=self._key(""))
        for upload in uploads.get("Uploads", ()):
            client.abort_multipart_upload(
                Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path


@contextlib.contextmanager
def fresh_bucket(endpoint: Endpoint) -> Iterator[Bucket]:
    """A bucket that exists for one test; in a bucket of one's own a prefix that does."""
    own = own_bucket()
    if own is not None and own.endpoint == endpoint:
        unique = "/".join(filter(None, (own.prefix, uuid.uuid4().hex)))
        bucket = replace(own, prefix=unique)
        try:
            yield bucket
        finally:
            bucket.clear()
        return
    bucket = Bucket(endpoint, f"test-{uuid.uuid4().hex}")
    endpoint.client().create_bucket(Bucket=bucket.name)
    try:
        yield bucket
    finally:
        bucket.clear()
        endpoint.client().delete_bucket(Bucket=bucket.name)


def own_bucket() -> Bucket | None:
    """The place that `PREFECT_TUNE_TEST_S3_URL` names, if it is set.

    Raises:
        ValueError: If it is not an `s3://` URL with a bucket.
    """
    url = os.environ.get(OWN_URL)
    if not url:
        return None
    name, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
    if not url.startswith("s3://") or not name:
        raise ValueError(f"{OWN_URL} must be s3://BUCKET or s3://BUCKET/PREFIX, not {url!r}")
    endpoint = Endpoint(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    return Bucket(endpoint, name, prefix)
