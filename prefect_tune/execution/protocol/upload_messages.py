"""What an agent and its transfer process say to each other, in frames of pickles.

Besides its replies the process says, unasked and with the number 0, how storage is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from prefect_tune.filesystem.location import Location


class Message(IntEnum):
    """What a frame is; its payload in brackets. Replies repeat the request's number."""

    PUT = 64  #: take a checkpoint to storage [Transfer]
    GET = 65  #: bring one from storage [Transfer]
    DONE = 80  #: [None]
    FAILED = 81  #: [the exception]
    AWAY = 82  #: storage has not answered for a while [why, for people]
    BACK = 83  #: it answers again [None]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One checkpoint to move.

    Attributes:
        location: A directory in storage.
        path: The checkpoint's path below that.
        directory: Its directory on this node: complete, or to be made.
        timeout_s: Seconds after which it is given up.
        outage_s: Seconds for which the storage may be away.
    """

    location: Location
    path: str
    directory: str
    timeout_s: float
    outage_s: float
