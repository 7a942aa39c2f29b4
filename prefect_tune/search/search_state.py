"""Saves the state of the searcher, so that a resume need not replay every suggestion and result."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.encryption import (
    EncryptedWithOtherKey,
    decrypt,
    encrypt_if_secret,
    is_encrypted,
)
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles, Untrusted

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


class SourceState(NamedTuple):
    """What `SearcherSource.save_state` pickles, as a plain tuple.

    Attributes:
        counters: The source's own counters.
        stream: State of its random numbers.
        searcher: The contents of a file of `Searcher.save`.
        first: Warm-start configurations that are still to be tried.
        is_taught: Whether the searcher has learnt from the warm start.
    """

    counters: tuple[Any, ...]
    stream: Any
    searcher: bytes
    first: list[dict[str, Any]] = []  # noqa: RUF012  (states of before warm starts have none)
    is_taught: bool = True


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
        try:
            return read_state(path, self._pickles, self._origin, is_data)
        except Untrusted as error:
            _logger.warning(
                "The state of the search in %s is not used: %s All suggestions and results in the "
                "journal are replayed instead.",
                path,
                error,
            )
        except EncryptedWithOtherKey as error:
            _logger.warning("The state of the search in %s is not used: %s", path, error)
        return None


def read_state(
    path: Path,
    pickles: Pickles = OF_THIS_PROCESS,
    origin: str | None = None,
    is_data: bool = False,
) -> SearchState | None:
    """Read a file of `SearchStates`; None if it is missing, damaged, or of another run.

    Args:
        path: The file.
        pickles: Checks the signature.
        origin: Id of the run that must have written it; None for any run.
        is_data: True if the state is plain data that is safe to load without a signature.

    Raises:
        Untrusted: The state is not signed with this user's key.
        EncryptedWithOtherKey: It holds secrets, and is encrypted with another user's key.
    """
    try:
        head, _, state = path.read_bytes().partition(b"\n")
        facts = orjson.loads(head)
    except (OSError, orjson.JSONDecodeError):
        return None
    if facts.get("crc") != zlib.crc32(state) or origin not in (None, facts.get("origin")):
        return None
    if not is_data and not pickles.accepts(_PURPOSE, state, facts.get("signature")):
        raise Untrusted
    return SearchState(facts["suggested"], facts["told"], decrypt(pickles, state))
