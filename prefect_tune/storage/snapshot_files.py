"""The files of a snapshot: they shorten the replay of a journal.

`snapshot.pkl` is replaced as a whole: a line of JSON (with a checksum, as in the journal) about
what it belongs to, and the pickled state. Trials that are finished are not written again and again:
they are appended to `snapshot_trials.pkl`, of which a snapshot says how many bytes it knows.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import orjson

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.storage.journal.file import encode_line, line_problem

SNAPSHOT_FILE = "snapshot.pkl"
TRIALS_FILE = "snapshot_trials.pkl"
SNAPSHOT_FORMAT = 2
_PURPOSE = "snapshot"
_LENGTH = struct.Struct(">Q")


class SnapshotUnusable(StorageError):
    """A snapshot is there but does not help; its text says why."""


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """What a snapshot belongs to, and how it was made.

    Attributes:
        origin: Id of the run.
        records: How many records the run's journal had, headers included.
        last_record: CRC-32 of the last of them.
        suggested: How many suggestions the state of the search knows that it builds on.
        told: How much that state had been told.
        scheduler: Fingerprint of the scheduler before the run.
        stopper: Fingerprint of the stopping criteria before the run.
        prefect_tune: Version of this package.
        python: Version of Python, without the patch level.
        trials_size: How many bytes of the file of finished trials belong to it.
        trials_crc: Their CRC-32.
        body_crc: CRC-32 of the state.
        signature: Of both.
        format: Of the files.
    """

    origin: str
    records: int
    last_record: int
    suggested: int
    told: int
    scheduler: str
    stopper: str
    prefect_tune: str
    python: str
    trials_size: int = 0
    trials_crc: int = 0
    body_crc: int = 0
    signature: str = ""
    format: int = SNAPSHOT_FORMAT


class SnapshotFiles:
    """Reads and writes the snapshot of an experiment directory.

    Args:
        directory: The directory.
        pickles: Signs what is saved, and knows what may be loaded.

    Attributes:
        pickles: The same.
    """

    def __init__(self, directory: Path, pickles: Pickles = OF_THIS_PROCESS) -> None:
        self.pickles = pickles
        self._snapshot = directory / SNAPSHOT_FILE
        self._trials = directory / TRIALS_FILE
        self.start_anew()

    def load_head(self, origin: str) -> SnapshotHead | None:
        """The head of the snapshot of a run; None if it has none.

        Raises:
            SnapshotUnusable: If it is damaged or of another format.
        """
        try:
            with open(self._snapshot, "rb") as file:
                line = file.readline()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SnapshotUnusable(f"it cannot be read ({error})") from error
        problem = line_problem(line)
        if problem:
            raise SnapshotUnusable(f"it is damaged ({problem})")
        try:
            body = orjson.loads(line[9:])
            if body["format"] != SNAPSHOT_FORMAT:
                raise SnapshotUnusable(f"it has format {body['format']}, not {SNAPSHOT_FORMAT}")
            # What an earlier version has written has no signature.
            body.setdefault("signature", "")
            head = SnapshotHead(**{field.name: body[field.name] for field in fields(SnapshotHead)})
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise SnapshotUnusable("it is damaged") from error
        return head if head.origin == origin else None

    def load(self, head: SnapshotHead) -> tuple[bytes, list[bytes]]:
        """The pickled state, and the pickles of finished trials in the order of their writing.

        What is saved next continues these files.

        Raises:
            SnapshotUnusable: If a file is damaged or missing.
        """
        try:
            body = self._snapshot.read_bytes().partition(b"\n")[2]
            trials = b""
            if head.trials_size:
                with open(self._trials, "rb") as file:
                    trials = file.read(head.trials_size)
        except OSError as error:
            raise SnapshotUnusable(f"it cannot be read ({error})") from error
        if zlib.crc32(body) != head.body_crc:
            raise SnapshotUnusable("it is damaged")
        if len(trials) != head.trials_size or zlib.crc32(trials) != head.trials_crc:
            raise SnapshotUnusable(f"{TRIALS_FILE} is damaged")
        self.start_anew()
        self._add(trials)
        if not self.pickles.accepts(_PURPOSE, self._signed(body), head.signature):
            raise SnapshotUnusable("it is not signed with this user's key")
        return body, list(_frames(trials))

    def start_anew(self) -> None:
        """Have what is saved next begin with empty files."""
        self._size = self._crc = 0
        self._trials_digest = hashlib.sha256()

    def add_trials(self, trials: bytes) -> None:
        """Append the pickle of some finished trials; the next snapshot that is saved knows them.

        Raises:
            StorageError: If it cannot be written.
        """
        data = _LENGTH.pack(len(trials)) + trials
        try:
            with open(os.open(self._trials, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
                # Behind what is known may be what a process wrote that was killed then.
                file.truncate(self._size)
                file.seek(self._size)
                file.write(data)
        except OSError as error:
            raise StorageError(f"cannot write the snapshot {self._trials}: {error}") from error
        self._add(data)

    def save(self, head: SnapshotHead, body: bytes) -> None:
        """Write a snapshot; a reader sees the one before or this one, whole.

        Args:
            head: Its head; sizes and checksums are filled in here.
            body: The pickled state.

        Raises:
            StorageError: If it cannot be written.
        """
        written = asdict(head) | {
            "trials_size": self._size,
            "trials_crc": self._crc,
            "body_crc": zlib.crc32(body),
            "signature": self.pickles.sign(_PURPOSE, self._signed(body)),
        }
        try:
            write_atomic(self._snapshot, encode_line(orjson.dumps(written)), body)
        except OSError as error:
            raise StorageError(f"cannot write the snapshot {self._snapshot}: {error}") from error

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)
        self._trials_digest.update(data)

    def _signed(self, body: bytes) -> bytes:
        return self._trials_digest.digest() + body


def _frames(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        begin = position + _LENGTH.size
        (length,) = _LENGTH.unpack(data[position:begin])
        position = begin + length
        yield data[begin:position]
