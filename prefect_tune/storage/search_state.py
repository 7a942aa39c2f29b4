"""Saves the state of the searcher, so that a resume need not replay every suggestion and result."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.encryption import (
    EncryptedWithOtherKey,
    decrypt,
    encrypt_if_secret,
    is_encrypted,
)
from prefect_tune.experiment.pickling.signing import ADVICE, OF_THIS_PROCESS, Pickles

_START = "search_start.state"
#: The newest state, which may be newer than a journal whose damaged end was cut off.
LATEST_STATE = "search_latest.state"
_PURPOSE = "search"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchState:
    """State of the searcher at one point of an experiment.

    Attributes:
        suggested: How many suggestions the searcher had made.
        told: How many results and completions the searcher had been told.
        state: The return value of `TrialSource.save_state`.
    """

    suggested: int
    told: int
    state: bytes = field(repr=False)


class SearchStates:
    """Files with the searcher's state before the first suggestion and its latest state.

    The first state is kept because a journal that lost its end may be older than the latest state.

    Args:
        directory: The experiment directory.
        origin: Id of the run; states of other runs are ignored.
        pickles: Signs states, and checks the signature before a state is loaded.
    """

    def __init__(self, directory: Path, origin: str, pickles: Pickles = OF_THIS_PROCESS) -> None:
        self._directory = directory
        self._origin = origin
        self._pickles = pickles

    def save(self, state: SearchState) -> None:
        """Write a state, atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        written = encrypt_if_secret(self._pickles, state.state)
        head = orjson.dumps(
            {
                "origin": self._origin,
                "suggested": state.suggested,
                "told": state.told,
                "crc": zlib.crc32(written),
                "signature": self._pickles.sign(_PURPOSE, written),
            }
        )
        path = self._directory / (LATEST_STATE if state.suggested or state.told else _START)
        try:
            mode = 0o600 if is_encrypted(written) else 0o666
            write_atomic(path, head, b"\n", written, mode=mode)
        except OSError as error:
            raise StorageError(f"cannot write the state of the search {path}: {error}") from error

    def load(self, is_data: bool = False) -> SearchState | None:
        """Return the newest usable state of this run; None if there is none.

        Args:
            is_data: True if the searcher's state is plain data that is safe to load without a
                signature.
        """
        latest = self._read(self._directory / LATEST_STATE, is_data)
        return self._read(self._directory / _START, is_data) if latest is None else latest

    def delete_latest(self) -> None:
        """Delete the latest state, because the journal has lost records that the state includes."""
        (self._directory / LATEST_STATE).unlink(missing_ok=True)

    def _read(self, path: Path, is_data: bool) -> SearchState | None:
        """Read a state; None if it is missing, damaged, of another run, or not signed."""
        try:
            head, _, state = path.read_bytes().partition(b"\n")
            facts = orjson.loads(head)
        except (OSError, orjson.JSONDecodeError):
            return None
        if facts.get("origin") != self._origin or facts.get("crc") != zlib.crc32(state):
            return None
        if not is_data and not self._pickles.accepts(_PURPOSE, state, facts.get("signature")):
            _logger.warning(
                "The state of the search in %s is not used: it is not signed with this user's key. "
                "All suggestions and results in the journal are replayed instead. %s",
                path,
                ADVICE,
            )
            return None
        try:
            state = decrypt(self._pickles, state)
        except EncryptedWithOtherKey as error:
            _logger.warning("The state of the search in %s is not used: %s", path, error)
            return None
        return SearchState(facts["suggested"], facts["told"], state)
