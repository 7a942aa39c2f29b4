"""The header records of a journal: what wrote the records behind each.

One is written each time an experiment is opened. A journal may hold several runs: each begins with
a header of its own, and goes on with one more whenever it is resumed.
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
    """Arguments that are not to change, and that readers compare trials by."""

    metric: str | list[str] | None
    mode: str | list[str] | None
    seed: int | str | None


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
        arguments: Further arguments by name; empty if not known.
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
    arguments: TuneArguments = field(default_factory=TuneArguments)
    space: dict[str, str] | None = None
    stop: str = ""

    @property
    def is_first(self) -> bool:
        """True if a run begins here, False if it goes on."""
        return self.origin == self.experiment_id

    def encode(self) -> bytes:
        """The record."""
        body = {"journal": JOURNAL_FORMAT, **asdict(self)}
        return orjson.dumps(body, default=str, option=orjson.OPT_SERIALIZE_NUMPY)


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
    body["arguments"] = dict(map(_argument, body.get("arguments", {}).items()))
    return JournalHeader(**{f.name: body[f.name] for f in fields(JournalHeader) if f.name in body})


def _argument(item: tuple[str, Any]) -> tuple[str, Any]:
    """Name and value of an argument, which earlier versions wrote as texts of Python."""
    name, value = item
    if not name.startswith("`"):
        return name, value
    try:
        value = ast.literal_eval(value)
    except (ValueError, SyntaxError):  # it was too long, or an object
        value = None
    return name.strip("`"), value
