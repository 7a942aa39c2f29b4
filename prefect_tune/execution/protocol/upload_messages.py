"""Messages between an agent and its transfer process, in frames with pickles.

In addition to replies, the process reports outages of storage, with the number 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from prefect_tune.filesystem.location import Location


class Message(IntEnum):
    """Type of a frame, with its payload in brackets. Replies repeat the request's number."""

    PUT = 64  #: upload a checkpoint [Transfer]
    GET = 65  #: download a checkpoint [Transfer]
    DONE = 80  #: [None]
    FAILED = 81  #: [the exception]
    AWAY = 82  #: storage has not answered for a while [the reason, as text]
    BACK = 83  #: storage answers again [None]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Description of a checkpoint to upload or download.

    Attributes:
        location: A directory in storage.
        path: Path of the checkpoint below `location`.
        directory: The checkpoint's directory on this node: complete, or to be created.
        timeout_s: Seconds after which the transfer is given up.
        outage_s: Seconds for which storage may be unavailable.
    """

    location: Location
    path: str
    directory: str
    timeout_s: float
    outage_s: float
