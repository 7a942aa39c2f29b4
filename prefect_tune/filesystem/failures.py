"""What a file system's exception means: away, refused, full, missing or broken."""

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
    """There is no such file."""


class TruncatedTransfer(OSError):
    """Less arrived than was asked for; trying again may bring it all."""


class UnfinishedRename(OSError):
    """A file did not get its name; trying again may give it."""


class Kind(enum.Enum):
    """What can be done about a failure."""

    #: Try again.
    AWAY = enum.auto()
    #: There is no such file.
    MISSING = enum.auto()
    #: Trying again cannot help; somebody has to change something.
    FATAL = enum.auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure, understood.

    Attributes:
        kind: What can be done.
        text: What is wrong, without a full stop.
        hint: What would be right, "" if nobody knows.
    """

    kind: Kind
    text: str
    hint: str = ""

    def as_error(self, doing: str, url: str) -> StorageError:
        """The error to raise, unless trying again may help."""
        if self.kind is Kind.MISSING and doing == "write":
            return StorageError(f"cannot write {url}: there is no such place. {_HINTS['bucket']}")
        if self.kind is Kind.MISSING:
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

# Error codes of S3 and what speaks like it, and of Azure.
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
# Damaged on the way, or an answer that means "later".
_AGAIN_CODES = set(
    """
    BadDigest IncompleteBody InternalError OperationAborted RequestTimeout
    RequestTimeoutException ServiceUnavailable SlowDown Throttling ThrottlingException
    TooManyRequests XAmzContentChecksumMismatch XAmzContentSHA256Mismatch
""".split()
)
# By name: their packages may not be installed.
_AGAIN_TYPES = set(
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
_AGAIN_ERRNOS = {
    getattr(errno, name)
    for name in """
        EAGAIN EBUSY ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR EIO ENETDOWN
        ENETRESET ENETUNREACH ENOTCONN EPIPE EREMOTEIO ESTALE ETIMEDOUT
    """.split()
}
# What follows in the texts of Azure's client are numbers, and the answer as XML.
_APPENDIX = re.compile(r"\n(?:RequestId|ErrorCode|Content):")
# HDFS while it starts, or hands over to another name node, which it says in words alone.
_NOT_READY = re.compile(r"\bin safe mode\b|\bin state standby\b")
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_AGAIN_STATUS = {408, 409, 425, 429}


def classify(error: BaseException) -> Failure:
    """What an exception of a file system, or one that it was made from, means."""
    if isinstance(error, NotFound):
        return Failure(Kind.MISSING, str(error))
    if isinstance(error, StorageError):
        return Failure(Kind.FATAL, str(error).rstrip("."))
    text = brief(error)
    code, status = _answer(error)
    names = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    if any(getattr(one, "retryable", False) is True for one in _chain(error)):  # Google's
        return Failure(Kind.AWAY, text)
    if code in _CODES:
        problem, hint = _CODES[code]
        return Failure(Kind.FATAL, f"{problem} ({text})", _HINTS.get(hint, ""))
    if code in _AGAIN_CODES or (not code and names & _AGAIN_TYPES):
        return Failure(Kind.AWAY, text)
    if code in ("NoSuchKey", "NoSuchUpload"):
        return Failure(Kind.MISSING, text)
    if status is not None:
        return _of_status(status, text)
    if names & _CREDENTIAL_TYPES:
        return Failure(Kind.FATAL, text, _HINTS["credentials"])
    if isinstance(error, FileNotFoundError):
        return Failure(Kind.MISSING, text)
    return _of_operating_system(error, text)


def _of_status(status: int, text: str) -> Failure:
    if status == 404:
        return Failure(Kind.MISSING, text)
    if status in (401, 403):
        hint = "credentials" if status == 401 else "denied"
        return Failure(Kind.FATAL, f"access is denied ({text})", _HINTS[hint])
    if status == 507:
        return Failure(Kind.FATAL, f"there is no space left ({text})", _HINTS["full"])
    if status in _AGAIN_STATUS or (status >= 500 and status != 501):  # 501: not implemented
        return Failure(Kind.AWAY, text)
    return Failure(Kind.FATAL, text, _HINTS["region"] if status < 400 else "")


def _of_operating_system(error: BaseException, text: str) -> Failure:
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL_ERRNOS:
        return Failure(Kind.FATAL, f"there is no space left ({text})", _HINTS["full"])
    if number == errno.EROFS:
        return Failure(Kind.FATAL, "it is read-only", _HINTS["read-only"])
    if str(error).startswith("Forbidden: "):  # gcsfs has no other sign of it
        return Failure(Kind.FATAL, f"access is denied ({text})", _HINTS["denied"])
    if isinstance(error, PermissionError):
        return Failure(Kind.FATAL, f"access is denied ({text})", _HINTS["read-only"])
    if number in _AGAIN_ERRNOS or _NOT_READY.search(text):
        return Failure(Kind.AWAY, text)
    return Failure(Kind.FATAL, text)


def brief(error: BaseException) -> str:
    """An exception in one line, without secrets."""
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
    """Take passwords and signatures out of URLs in a text."""
    text = re.sub(r"(://[^/\s:@]*):[^/\s@]+@", r"\1:***@", text)
    return re.sub(
        r"(?i)([?&](?:sig|[a-z_-]*(?:signature|token|password)|x-amz-[a-z-]+)=)[^&\s]+",
        r"\1***",
        text,
    )


def _answer(error: BaseException) -> tuple[str, int | None]:
    """Error code and HTTP status of the store's answer, if that is what failed."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return code, _as_status(status) or _as_status(code)
        status = _as_status(getattr(response, "status_code", None))
        named = getattr(one, "error_code", None)  # Azure's; of an enumeration, if it is known
        for name in ("status_code", "status", "code"):
            status = status or _as_status(getattr(one, name, None))
        if status is not None:
            return str(getattr(named, "value", named) or ""), status
    return "", None


def _as_status(value: Any) -> int | None:
    """An HTTP status, None if it is not one."""
    text = str(value)
    return int(text) if text.isdigit() and 300 <= int(text) < 600 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__
