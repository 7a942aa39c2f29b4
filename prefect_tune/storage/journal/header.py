"""The header records of a journal: what wrote the records behind each.

One is written each time an experiment is opened. A journal may hold several runs: each begins with
a header of its own, and goes on with one more whenever it is resumed.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field, fields

import orjson

from prefect_tune._version import __version__
from prefect_tune.error import StorageError

JOURNAL_FORMAT = 1
_PREFIX = b'{"journal":'


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """A header record.

    Attributes:
        experiment_id: Unique id of this opening of the experiment.
        origin: The `experiment_id` of the first one; the same, unless this is a resume.
        name: Name of the experiment.
        time: Seconds since the epoch.
        trainable: Name of the trainable.
        code: Digest of its source, "" if unknown.
        search: Name of the search algorithm's class.
        scheduler: Name of the scheduler's class.
        prefect_tune: Version of this package.
        python: Version of Python.
        arguments: Further arguments by name, in words; those that are not to change.
        space: The parameters of the search space by path, in words; None if not known.
        stop: The stopping criteria in words.
    """

    experiment_id: str
    origin: str
    name: str
    time: float
    trainable: str = ""
    code: str = ""
    search: str = ""
    scheduler: str = ""
    prefect_tune: str = __version__
    python: str = platform.python_version()
    arguments: dict[str, str] = field(default_factory=dict)
    space: dict[str, str] | None = None
    stop: str = ""

    @property
    def is_first(self) -> bool:
        """True if a run begins here, False if it goes on."""
        return self.origin == self.experiment_id

    def encode(self) -> bytes:
        """The record."""
        return orjson.dumps({"journal": JOURNAL_FORMAT, **asdict(self)})


def parse_header(record: bytes) -> JournalHeader | None:
    """The header in a record, None if it is another record.

    Raises:
        StorageError: If it is of a newer format than this version can read.
    """
    if not record.startswith(_PREFIX):
        return None
    body = orjson.loads(record)
    if body["journal"] > JOURNAL_FORMAT:
        raise StorageError(
            f"the journal has format {body['journal']}, written by prefect_tune "
            f"{body.get('prefect_tune')}; this is {__version__}, which reads formats up to "
            f"{JOURNAL_FORMAT}. Update prefect_tune."
        )
    body.setdefault("origin", body["experiment_id"])
    return JournalHeader(**{f.name: body[f.name] for f in fields(JournalHeader) if f.name in body})
