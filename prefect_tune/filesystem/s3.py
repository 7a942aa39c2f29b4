"""Requests to S3 and compatible stores, through s3fs.

Only GetObject, PutObject (with its multipart requests), DeleteObject and ListObjectsV2 are used.
Buckets are neither checked nor created, and there is no bulk delete, for which some stores need a
checksum that botocore does not send.
"""

from __future__ import annotations

import mimetypes
from functools import partial
from pathlib import Path
from typing import Any

from prefect_tune.error import StorageError, storage_errors
from prefect_tune.filesystem.backend import SINGLE_REQUEST_SIZE, Entry, Part, Upload, part_ranges
from prefect_tune.filesystem.connect import connect
from prefect_tune.filesystem.location import Location


class S3Backend:
    """`Backend` of S3 and compatible stores.

    Args:
        location: Bucket and prefix.
    """

    def __init__(self, location: Location) -> None:
        self._location = location

    def read(self, path: str, timeout: float) -> bytes:
        return self._get(path, {}, timeout)

    def read_range(self, path: str, start: int, end: int, version: str, timeout: float) -> bytes:
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        if version:
            wanted["IfMatch"] = version
        return self._get(path, wanted, timeout)

    def write(self, path: str, data: bytes, timeout: float) -> None:
        self.call("put_object", path, timeout, Body=data, **_content_type(path))

    def list_page(self, path: str, page: str, timeout: float) -> tuple[dict[str, Entry], str]:
        fs, bucket, base = self._address("")
        base = f"{base}/" if base else ""
        prefix = f"{base}{path}/" if path else base
        more = {"ContinuationToken": page} if page else {}
        answer = fs.call_s3(
            "list_objects_v2", Bucket=bucket, Prefix=prefix, timeout=timeout, **more
        )
        entries = {
            found["Key"][len(base) :]: Entry(found["Size"], found.get("ETag", ""))
            for found in answer.get("Contents", ())
            if not found["Key"].endswith("/")  # placeholders that web consoles create
        }
        return entries, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""

    def delete(self, path: str, timeout: float) -> None:
        self.call("delete_object", path, timeout)

    def remove_directories(self, path: str, timeout: float) -> None:
        """Do nothing, because S3 has no directories."""

    def begin_upload(self, local: Path, size: int, path: str, timeout: float) -> Upload:
        if size <= SINGLE_REQUEST_SIZE:
            part = Part(size, lambda timeout: self.write(path, read_part(local, 0, None), timeout))
            return Upload([part])  # visible at once, and nothing is left of a failed request
        answer = self.call("create_multipart_upload", path, timeout, **_content_type(path))
        upload = {"UploadId": answer["UploadId"]}
        etags: dict[int, str] = {}

        def send(number: int, start: int, size: int, timeout: float) -> None:
            more = {**upload, "PartNumber": number, "Body": read_part(local, start, size)}
            etags[number] = self.call("upload_part", path, timeout, **more)["ETag"]

        def finish(timeout: float) -> None:
            parts = {"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in sorted(etags)]}
            more = {**upload, "MultipartUpload": parts}
            try:
                self.call("complete_multipart_upload", path, timeout, **more)
            except FileNotFoundError:
                # An earlier try may have succeeded though its answer was lost: then the object
                # exists, and the upload does not any more.
                if self._size(path, timeout) != size:
                    raise

        def abort(timeout: float) -> None:
            self.call("abort_multipart_upload", path, timeout, **upload)

        parts = [
            Part(end - begin, partial(send, number, begin, end - begin))
            for number, (begin, end) in enumerate(part_ranges(size), 1)
        ]
        return Upload(parts, finish, abort)

    def _size(self, path: str, timeout: float) -> int | None:
        """Return the size of an object; None if there is none."""
        # A listing, because a HEAD request cannot tell a missing bucket from a missing object.
        fs, bucket, key = self._address(path)
        answer = fs.call_s3(
            "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1, timeout=timeout
        )
        sizes: dict[str, int] = {one["Key"]: one["Size"] for one in answer.get("Contents", ())}
        return sizes.get(key)

    def _get(self, path: str, wanted: dict[str, str], timeout: float) -> bytes:
        from fsspec.asyn import sync

        fs, bucket, key = self._address(path)

        async def get() -> bytes:
            answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, **wanted)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            return data

        data: bytes = sync(fs.loop, get, timeout=timeout)
        return data

    def call(self, method: str, path: str, timeout: float, **arguments: Any) -> Any:
        """Send a request for one object."""
        fs, bucket, key = self._address(path)
        return fs.call_s3(method, Bucket=bucket, Key=key, timeout=timeout, **arguments)

    def _address(self, path: str) -> tuple[Any, str, str]:
        """Return the file system of this process, the bucket, and the object's key."""
        fs, base = connect(self._location)
        bucket, prefix, _ = fs.split_path(base)
        if not path:
            return fs, bucket, prefix
        return fs, bucket, f"{prefix}/{path}" if prefix else path


def read_part(local: Path, start: int, size: int | None) -> bytes:
    """Read a part of a local file that is being uploaded.

    Raises:
        StorageError: If the file cannot be read, or has become shorter.
    """
    with storage_errors(f"read {local}"), open(local, "rb") as file:
        file.seek(start)
        data = file.read() if size is None else file.read(size)
    if size is not None and len(data) != size:
        raise StorageError(f"{local} became shorter while it was read.")
    return data


def _content_type(path: str) -> dict[str, str]:
    guessed, _ = mimetypes.guess_type(path)
    return {} if guessed is None else {"ContentType": guessed}
