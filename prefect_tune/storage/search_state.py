"""Saved states of a search: they shorten, and for some searches make possible, its replay."""

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
#: The newest state, which may know more than a journal that was cut.
LATEST_STATE = "search_latest.state"
_PURPOSE = "search"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchState:
    """The state of a search at one point of an experiment.

    Attributes:
        suggested: How many suggestions it had made.
        told: How much it had been told.
        state: What `TrialSource.save_state` returned.
    """

    suggested: int
    told: int
    state: bytes = field(repr=False)


class SearchStates:
    """The states of one run: the one before the first suggestion, and the latest.

    The first one is kept because a journal that was cut may know less than the latest state.

    Args:
        directory: The experiment directory.
        origin: Id of the run; the states of another one are not looked at.
        pickles: Signs states, and knows which may be loaded.
    """

    def __init__(self, directory: Path, origin: str, pickles: Pickles = OF_THIS_PROCESS) -> None:
        self._directory = directory
        self._origin = origin
        self._pickles = pickles

    def save(self, state: SearchState) -> None:
        """Write a state; a reader sees the one before or this one, whole.

        Raises:
            StorageError: If it cannot be written.
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
        """The newest state of this run, if there is one that may be used.

        Args:
            is_data: True if the search takes its state as mere data, so that anybody may have
                written it.
        """
        latest = self._read(self._directory / LATEST_STATE, is_data)
        return self._read(self._directory / _START, is_data) if latest is None else latest

    def delete_latest(self) -> None:
        """Drop the latest state: the journal has lost what it was saved behind."""
        (self._directory / LATEST_STATE).unlink(missing_ok=True)

    def _read(self, path: Path, is_data: bool) -> SearchState | None:
        """The state in a file; None if it is missing, damaged, of another run or not trusted."""
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
                "The search is asked and told anew what the journal says. %s",
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
