"""Classifies file systems' exceptions: worth a retry, missing file, or fatal."""

from __future__ import annotations

import enum
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import StorageError


class NotFound(StorageError):
    """Error for a file that does not exist."""


class TruncatedTransfer(OSError):
    """Error for a read that returned too few bytes; a retry may succeed."""


class UnfinishedRename(OSError):
    """Error for a rename that did not happen; a retry may succeed."""


class FailureKind(enum.Enum):
    """How to react to a failure."""

    #: The storage may be temporarily unavailable: retry.
    UNAVAILABLE = enum.auto()
    #: The file does not exist.
    MISSING = enum.auto()
    #: A retry cannot help; the user has to change something.
    FATAL = enum.auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """Classified failure of a request.

    Attributes:
        kind: How to react.
        text: What is wrong, without a full stop.
        hint: What the user can do, "" if unknown.
    """

    kind: FailureKind
    text: str
    hint: str = ""

    def as_error(self, doing: str, url: str) -> StorageError:
        """Return the exception to raise if the request is not retried."""
        if self.kind is FailureKind.MISSING and doing == "write":
            return StorageError(f"cannot write {url}: there is no such place. {_HINTS['bucket']}")
        if self.kind is FailureKind.MISSING:
            return NotFound(f"cannot {doing} {url}: there is no such file.")
        hint = f" {self.hint}" if self.hint else ""
        return StorageError(f"cannot {doing} {url}: {self.text}.{hint}")


_HINTS = {
    "credentials": "Give the right key and secret: in a TuneStorage block, in the storage options "
    "or as the environment and configuration files of that store say.",
    "denied": "The credentials need permission to get, put, delete and list objects below this "
    "URL, nothing else.",
    "bucket": "Give the URL of a bucket that exists: none is ever created.",
    "region": "Give the bucket's region in the storage options: "
    '{"client_kwargs": {"region_name": ...}}.',
    "full": "Free space, or give a `storage_path` with more of it.",
    "read-only": "Give a `storage_path` that may be written, or the permission to write there.",
}

# Error codes of S3-compatible stores and of Azure.
_CODES = {
    "InvalidAccessKeyId": ("the access key is not known there", "credentials"),
    "SignatureDoesNotMatch": ("the secret does not fit the access key", "credentials"),
    "ExpiredToken": ("the session token has expired", "credentials"),
    "InvalidToken": ("the session token is not valid", "credentials"),
    "RequestTimeTooSkewed": (
        "this machine's clock differs too much from the store's",
        "",
    ),
    "AccessDenied": ("access is denied", "denied"),
    "AllAccessDisabled": ("access is disabled", "denied"),
    "AccountProblem": ("there is a problem with the account", "denied"),
    "NoSuchBucket": ("there is no such bucket", "bucket"),
    "InvalidBucketName": ("that is not the name of a bucket", "bucket"),
    "PermanentRedirect": ("the bucket is in another region", "region"),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", "region"),
    "IllegalLocationConstraintException": ("the bucket is in another region", "region"),
    "QuotaExceeded": ("the quota is used up", "full"),
    "XMinioStorageFull": ("the storage is full", "full"),
    "EntityTooLarge": ("the file is larger than that store allows", ""),
    "AuthenticationFailed": ("the key or token does not fit the account", "credentials"),
    "InvalidAuthenticationInfo": ("the key or token is not valid", "credentials"),
    "NoAuthenticationInformation": ("there is no key or token", "credentials"),
    "PublicAccessNotPermitted": ("there is no key or token", "credentials"),
    "AccountIsDisabled": ("the account is disabled", "denied"),
    "AuthorizationFailure": ("access is denied", "denied"),
    "AuthorizationPermissionMismatch": ("access is denied", "denied"),
    "ContainerNotFound": ("there is no such container", "bucket"),
    "InvalidResourceName": ("that is not the name of a container", "bucket"),
    "MethodNotAllowed": ("that store does not allow it", "read-only"),
}
# Data damaged in transfer, or answers that ask to retry later.
_RETRY_CODES = set(
    """
    BadDigest IncompleteBody InternalError OperationAborted RequestTimeout
    RequestTimeoutException ServiceUnavailable SlowDown Throttling ThrottlingException
    TooManyRequests XAmzContentChecksumMismatch XAmzContentSHA256Mismatch
""".split()
)
# Exception types by name, because their packages may not be installed.
_RETRY_TYPES = set(
    """
    ChecksumError ChunkedEncodingError ClientConnectionError ClientOSError ClientPayloadError
    ConnectionError EndpointConnectionError FSTimeoutError FlexibleChecksumError HTTPClientError
    IncompleteRead IncompleteReadError ProtocolError ReadTimeoutError ResponseParserError
    ResponseStreamingError SSHException ServerDisconnectedError ServiceRequestError
    ServiceResponseError SSLError TimeoutError TransportError TruncatedTransfer UnfinishedRename
""".split()
)
_CREDENTIAL_TYPES = set(
    """
    ClientAuthenticationError CredentialRetrievalError DefaultCredentialsError NoAuthTokenError
    NoCredentialsError PartialCredentialsError ProfileNotFound RefreshError TokenRetrievalError
    UnauthorizedSSOTokenError
""".split()
)
_RETRY_ERRNOS = {
    getattr(errno, name)
    for name in """
        EAGAIN EBUSY ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR EIO ENETDOWN
        ENETRESET ENETUNREACH ENOTCONN EPIPE EREMOTEIO ESTALE ETIMEDOUT
    """.split()
}
# Ends the useful part of Azure's error texts; ids and the answer's XML follow.
_APPENDIX = re.compile(r"\n(?:RequestId|ErrorCode|Content):")
# HDFS reports only in text that it is starting or switching to another name node.
_NOT_READY = re.compile(r"\bin safe mode\b|\bin state standby\b")
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RETRY_STATUS = {408, 409, 425, 429}


def classify(error: BaseException) -> Failure:
    """Classify an exception of a file system, including the exceptions that caused it."""
    if isinstance(error, NotFound):
        return Failure(FailureKind.MISSING, str(error))
    if isinstance(error, StorageError):
        return Failure(FailureKind.FATAL, str(error).rstrip("."))
    text = one_line(error)
    code, status = _store_answer(error)
    names = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    if any(getattr(one, "retryable", False) is True for one in _chain(error)):  # Google's
        return Failure(FailureKind.UNAVAILABLE, text)
    if code in _CODES:
        problem, hint = _CODES[code]
        return Failure(FailureKind.FATAL, f"{problem} ({text})", _HINTS.get(hint, ""))
    if code in _RETRY_CODES or (not code and names & _RETRY_TYPES):
        return Failure(FailureKind.UNAVAILABLE, text)
    if code in ("NoSuchKey", "NoSuchUpload"):
        return Failure(FailureKind.MISSING, text)
    if status is not None:
        return _classify_status(status, text)
    if names & _CREDENTIAL_TYPES:
        return Failure(FailureKind.FATAL, text, _HINTS["credentials"])
    if isinstance(error, FileNotFoundError):
        return Failure(FailureKind.MISSING, text)
    return _classify_os_error(error, text)


def _classify_status(status: int, text: str) -> Failure:
    if status == 404:
        return Failure(FailureKind.MISSING, text)
    if status in (401, 403):
        hint = "credentials" if status == 401 else "denied"
        return Failure(FailureKind.FATAL, f"access is denied ({text})", _HINTS[hint])
    if status == 507:
        return Failure(FailureKind.FATAL, f"there is no space left ({text})", _HINTS["full"])
    if status in _RETRY_STATUS or (status >= 500 and status != 501):  # 501: not implemented
        return Failure(FailureKind.UNAVAILABLE, text)
    return Failure(FailureKind.FATAL, text, _HINTS["region"] if status < 400 else "")


def _classify_os_error(error: BaseException, text: str) -> Failure:
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL_ERRNOS:
        return Failure(FailureKind.FATAL, f"there is no space left ({text})", _HINTS["full"])
    if number == errno.EROFS:
        return Failure(FailureKind.FATAL, "it is read-only", _HINTS["read-only"])
    if str(error).startswith("Forbidden: "):  # gcsfs gives neither a code nor a type
        return Failure(FailureKind.FATAL, f"access is denied ({text})", _HINTS["denied"])
    if isinstance(error, PermissionError):
        return Failure(FailureKind.FATAL, f"access is denied ({text})", _HINTS["read-only"])
    if number in _RETRY_ERRNOS or _NOT_READY.search(text):
        return Failure(FailureKind.UNAVAILABLE, text)
    return Failure(FailureKind.FATAL, text)


def one_line(error: BaseException) -> str:
    """Format an exception in one line, without secrets."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in errno.errorcode and error.strerror:
        known = error.strerror == os.strerror(number or 0)
        text = error.strerror if known else f"{os.strerror(number or 0)}: {error.strerror}"
    else:
        text = " ".join(_APPENDIX.split(str(error))[0].split())
    if not text:
        text = "it took too long" if "Timeout" in type(error).__name__ else ""
    text = text[:300] + ("..." if len(text) > 300 else "")
    name = type(error).__name__
    return scrub(f"{name}: {text}" if text else name).rstrip(".")


def scrub(text: str) -> str:
    """Replace passwords and signatures in a text's URLs by ``***``."""
    text = re.sub(r"(://[^/\s:@]*):[^/\s@]+@", r"\1:***@", text)
    return re.sub(
        r"(?i)([?&](?:sig|[a-z_-]*(?:signature|token|password)|x-amz-[a-z-]+)=)[^&\s]+",
        r"\1***",
        text,
    )


def _store_answer(error: BaseException) -> tuple[str, int | None]:
    """Return error code and HTTP status of the store's answer; "" and None if there was none."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return code, _as_status(status) or _as_status(code)
        status = _as_status(getattr(response, "status_code", None))
        named = getattr(one, "error_code", None)  # Azure's: a str, or an enum if it is known
        for name in ("status_code", "status", "code"):
            status = status or _as_status(getattr(one, name, None))
        if status is not None:
            return str(getattr(named, "value", named) or ""), status
    return "", None


def _as_status(value: Any) -> int | None:
    """Return a value as an HTTP status; None if it is not one."""
    text = str(value)
    return int(text) if text.isdigit() and 300 <= int(text) < 600 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and the exceptions that it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__
