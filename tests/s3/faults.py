"""What can go wrong between a client and an S3 service."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

WRITES = ("PUT", "POST", "DELETE")

_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
}


@dataclass(frozen=True)
class Drop:
    """The connection breaks before the service has heard anything."""


@dataclass(frozen=True)
class LoseAnswer:
    """The service does what it is asked, and the connection breaks before it can say so."""


@dataclass(frozen=True)
class Delay:
    """The request waits for `seconds` before it is passed on."""

    seconds: float


@dataclass(frozen=True)
class CutUpload:
    """Only a part of the request's body is passed on, then both connections break."""

    fraction: float = 0.5


@dataclass(frozen=True)
class CutDownload:
    """Only a part of the answer's body arrives, then the connection breaks."""

    fraction: float = 0.5


@dataclass(frozen=True)
class Answer:
    """The service is not asked; the answer is an error.

    Attributes:
        status: HTTP status.
        code: S3's error code; by default the usual one for the status.
    """

    status: int
    code: str = ""

    @property
    def body(self) -> bytes:
        """The XML document that S3 answers with."""
        code = self.code or _CODES.get(self.status, "InternalError")
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>injected by the fault proxy</Message></Error>"
        ).encode()


Fault = Drop | LoseAnswer | Delay | CutUpload | CutDownload | Answer

#: S3's way to ask for fewer requests.
SLOW_DOWN = Answer(503, "SlowDown")
INTERNAL_ERROR = Answer(500, "InternalError")
ACCESS_DENIED = Answer(403, "AccessDenied")
WRONG_KEY = Answer(403, "InvalidAccessKeyId")


@dataclass
class Rule:
    """Which requests a fault happens to.

    Attributes:
        fault: What happens.
        times: To how many more requests; None for no end.
        probability: With which probability to each of them.
        methods: Only to these HTTP methods; empty for all.
        path: Only where this regular expression is found in path and query.
        hits: How often it has happened.
    """

    fault: Fault
    times: int | None = None
    probability: float = 1.0
    methods: Collection[str] = ()
    path: str = ""
    hits: int = field(default=0, init=False)

    def concerns(self, method: str, target: str) -> bool:
        """Whether such a request can be hit by it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.methods and method not in self.methods:
            return False
        return re.search(self.path, target) is not None


@dataclass(frozen=True)
class Seen:
    """A request that reached the proxy.

    Attributes:
        method: HTTP method.
        target: Path and query.
        size: Length of the body in bytes; -1 if it was not announced.
        fault: What was done to it.
    """

    method: str
    target: str
    size: int
    fault: Fault | None
