"""Header records of a journal: which experiment and version wrote the records that follow.

A header is written each time an experiment is opened. A journal may hold several runs: each begins
with a header, and gets another one whenever it is resumed.
"""

from __future__ import annotations

import ast
import platform
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypedDict

import orjson

from prefect_tune._version import __version__
from prefect_tune.error import StorageError

JOURNAL_FORMAT = 1
_PREFIX = b'{"journal":'


class TuneArguments(TypedDict, total=False):
    """Arguments of a run that must not change on resume, and by which trials are compared."""

    metric: str | list[str] | None
    mode: str | list[str] | None
    seed: int | str | None


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """Header record of one opening of an experiment.

    Attributes:
        experiment_id: Unique id of this opening of the experiment.
        origin: The `experiment_id` of the run's first opening; differs from this one's on a resume.
        name: Name of the experiment.
        time: Seconds since the epoch.
        trainable: Name of the trainable.
        code: Digest of the trainable's source, "" if unknown.
        search: Name of the search algorithm's class.
        scheduler: Name of the scheduler's class.
        prefect_tune: Version of this package.
        python: Version of Python.
        arguments: Further arguments by name; empty if unknown.
        space: Text of each search space parameter by its path; None if unknown.
        stop: Text of the stopping criteria.
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
    arguments: TuneArguments = field(default_factory=TuneArguments)
    space: dict[str, str] | None = None
    stop: str = ""

    @property
    def is_first(self) -> bool:
        """True if a run begins with this opening, False if it is resumed."""
        return self.origin == self.experiment_id

    def encode(self) -> bytes:
        """Return the header as a journal record."""
        body = {"journal": JOURNAL_FORMAT, **asdict(self)}
        return orjson.dumps(body, default=str, option=orjson.OPT_SERIALIZE_NUMPY)


def parse_header(record: bytes) -> JournalHeader | None:
    """Parse a record as a header; None if it is another kind of record.

    Raises:
        StorageError: If the header has a newer format than this version can read.
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
    body["arguments"] = dict(map(_argument, body.get("arguments", {}).items()))
    return JournalHeader(**{f.name: body[f.name] for f in fields(JournalHeader) if f.name in body})


def _argument(item: tuple[str, Any]) -> tuple[str, Any]:
    """Return name and value of an argument; earlier versions wrote both as Python source text."""
    name, value = item
    if not name.startswith("`"):
        return name, value
    try:
        value = ast.literal_eval(value)
    except (ValueError, SyntaxError):  # a text that was shortened, or the repr of an object
        value = None
    return name.strip("`"), value
