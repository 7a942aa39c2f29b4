from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from prefect_tune.error import StorageError
from prefect_tune.filesystem.failures import FailureKind, NotFound, classify, one_line, scrub


class HttpError(Exception):
    """As gcsfs and the Azure libraries have them."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.status_code = status


class AzureError(Exception):
    """As Azure's client has them."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"No.\nRequestId:1\nTime:2\nErrorCode:{code}\nContent: <?xml ?>")
        self.status_code = status
        self.error_code = SimpleNamespace(value=code)


class RefreshError(Exception):
    """As google-auth has them."""

    def __init__(self, retryable: bool) -> None:
        super().__init__("no token")
        self.retryable = retryable


class ServiceRequestError(Exception):
    pass


class DefaultCredentialsError(Exception):
    pass


def answered(code: str, status: int) -> Exception:
    """An exception of botocore's shape."""
    error = Exception(f"An error occurred ({code})")
    error.response = {  # type: ignore[attr-defined]
        "Error": {"Code": code, "Message": "m"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered("SlowDown", 503), FailureKind.UNAVAILABLE),
        (answered("SomethingNew", 500), FailureKind.UNAVAILABLE),
        (answered("BadDigest", 400), FailureKind.UNAVAILABLE),
        (answered("NoSuchKey", 404), FailureKind.MISSING),
        (answered("404", 404), FailureKind.MISSING),
        (answered("NoSuchBucket", 404), FailureKind.FATAL),
        (answered("AccessDenied", 403), FailureKind.FATAL),
        (answered("403", 403), FailureKind.FATAL),
        (answered("SomethingNew", 400), FailureKind.FATAL),
        (answered("NotImplemented", 501), FailureKind.FATAL),
        (answered("PermanentRedirect", 301), FailureKind.FATAL),
        (HttpError(503), FailureKind.UNAVAILABLE),
        (HttpError(429), FailureKind.UNAVAILABLE),
        (HttpError(404), FailureKind.MISSING),
        (HttpError(401), FailureKind.FATAL),
        (HttpError(507), FailureKind.FATAL),
        (AzureError("ServerBusy", 503), FailureKind.UNAVAILABLE),
        (AzureError("BlobNotFound", 404), FailureKind.MISSING),
        (AzureError("ContainerNotFound", 404), FailureKind.FATAL),
        (AzureError("AuthenticationFailed", 403), FailureKind.FATAL),
        (RefreshError(retryable=True), FailureKind.UNAVAILABLE),
        (RefreshError(retryable=False), FailureKind.FATAL),
        (OSError("Forbidden: https://storage/b/x\nno permission"), FailureKind.FATAL),
        (ServiceRequestError("no route"), FailureKind.UNAVAILABLE),
        (DefaultCredentialsError("none found"), FailureKind.FATAL),
        (TimeoutError(), FailureKind.UNAVAILABLE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), FailureKind.UNAVAILABLE),
        (OSError(errno.ESTALE, "stale"), FailureKind.UNAVAILABLE),
        (OSError(errno.EIO, "broken"), FailureKind.UNAVAILABLE),
        (OSError(errno.ENOSPC, "full"), FailureKind.FATAL),
        (FileNotFoundError("a"), FailureKind.MISSING),
        (PermissionError(errno.EACCES, "no"), FailureKind.FATAL),
        (ValueError("what is this"), FailureKind.FATAL),
        (NotFound("there is no such file"), FailureKind.MISSING),
        (StorageError("said already."), FailureKind.FATAL),
    ],
    ids=repr,
)
def test_kinds(error: Exception, kind: FailureKind) -> None:
    assert classify(error).kind is kind
    wrapped = OSError("wrapped")
    wrapped.__cause__ = error
    if hasattr(error, "response"):
        assert classify(wrapped).kind is kind


def test_an_error_says_what_would_be_right() -> None:
    error = classify(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))).as_error("write", "/a/b")
    assert str(error) == (
        "cannot write /a/b: there is no space left (OSError: No space left on device). "
        "Free space, or give a `storage_path` with more of it."
    )


def test_clouds_say_no_in_ways_of_their_own() -> None:
    azure = str(classify(AzureError("AuthenticationFailed", 403)).as_error("read", "az://c/a"))
    assert azure.startswith(
        "cannot read az://c/a: the key or token does not fit the account (AzureError: No). Give "
    )
    google = classify(OSError("Forbidden: https://storage/b/x\nno permission"))
    assert "need permission to get, put, delete and list" in google.hint


def test_secrets_in_urls_are_not_shown() -> None:
    assert scrub("sftp://me:pass@host/a failed") == "sftp://me:***@host/a failed"
    shown = one_line(OSError("https://x.blob/a?sv=1&sig=abc%3D&se=2 X-Amz-Signature"))
    assert "abc" not in shown
    assert "sv=1" in shown
    assert scrub("GET /tokeninfo?access_token=ya29.a0 no") == "GET /tokeninfo?access_token=*** no"


def test_long_texts_are_cut() -> None:
    assert len(one_line(ValueError("x" * 10_000))) < 400
