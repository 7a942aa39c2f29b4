"""Reads and writes snapshot files, which shorten the replay of a journal.

`snapshot.pkl` is replaced as a whole: one line of JSON, the head (with a checksum, as in the
journal), and the pickled state. Finished trials are not written with every snapshot: each is
appended once to `snapshot_trials.pkl`, and a head says how many bytes of that file belong to it.
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
from prefect_tune.error import StorageError, storage_errors
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.storage.journal.file import encode_line, line_problem

SNAPSHOT_FILE = "snapshot.pkl"
TRIALS_FILE = "snapshot_trials.pkl"
SNAPSHOT_FORMAT = 2
_PURPOSE = "snapshot"
_LENGTH = struct.Struct(">Q")


class SnapshotUnusable(StorageError):
    """Error for a snapshot that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """Head of a snapshot: the run and the records it belongs to, and what wrote it.

    Attributes:
        origin: Id of the run.
        records: How many records the run's journal had, including headers.
        last_record: CRC-32 of the last of these records.
        suggested: How many suggestions are in the searcher's state that the snapshot relies on.
        told: How many results and completions are in that state.
        scheduler: Fingerprint of the scheduler before the run.
        stopper: Fingerprint of the stopping criteria before the run.
        prefect_tune: Version of this package.
        python: Version of Python, without the patch level.
        trials_size: How many bytes of the file of finished trials belong to the snapshot.
        trials_crc: CRC-32 of these bytes.
        body_crc: CRC-32 of the pickled state.
        signature: Signature of the finished trials and the state.
        format: Format of the files.
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
        directory: The experiment directory.
        pickles: Signs snapshots, and checks the signature before one is loaded.

    Attributes:
        pickles: The argument.
    """

    def __init__(self, directory: Path, pickles: Pickles = OF_THIS_PROCESS) -> None:
        self.pickles = pickles
        self._snapshot = directory / SNAPSHOT_FILE
        self._trials = directory / TRIALS_FILE
        self.reset()

    def load_head(self, origin: str) -> SnapshotHead | None:
        """Read the head of a run's snapshot; None if the run has no snapshot.

        Raises:
            SnapshotUnusable: If the snapshot is damaged or has another format.
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
            # Snapshots of earlier versions have no signature.
            body.setdefault("signature", "")
            head = SnapshotHead(**{field.name: body[field.name] for field in fields(SnapshotHead)})
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise SnapshotUnusable("it is damaged") from error
        return head if head.origin == origin else None

    def load(self, head: SnapshotHead) -> tuple[bytes, list[bytes]]:
        """Read the pickled state, and the pickles of finished trials in the order of writing.

        Later calls of `add_trials` append to these trials.

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
        self.reset()
        self._add(trials)
        if not self.pickles.accepts(_PURPOSE, self._signed(body), head.signature):
            raise SnapshotUnusable("it is not signed with this user's key")
        return body, list(_frames(trials))

    def reset(self) -> None:
        """Let the next `add_trials` begin with an empty file of finished trials."""
        self._size = self._crc = 0
        self._trials_digest = hashlib.sha256()

    def add_trials(self, trials: bytes) -> None:
        """Append the pickle of some finished trials, which the next saved snapshot will include.

        Raises:
            StorageError: If it cannot be written.
        """
        data = _LENGTH.pack(len(trials)) + trials
        with (
            storage_errors(f"write the snapshot {self._trials}"),
            open(os.open(self._trials, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file,
        ):
            # A process that was killed may have written more than its last snapshot includes.
            file.truncate(self._size)
            file.seek(self._size)
            file.write(data)
        self._add(data)

    def save(self, head: SnapshotHead, body: bytes) -> None:
        """Write a snapshot, atomically.

        Args:
            head: Head of the snapshot, to which sizes, checksums and the signature are added.
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
        with storage_errors(f"write the snapshot {self._snapshot}"):
            write_atomic(self._snapshot, encode_line(orjson.dumps(written)), body)

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
