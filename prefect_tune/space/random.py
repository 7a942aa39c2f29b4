"""Streams of uniform random numbers for search spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from prefect_tune.error import InvalidArgument

RandomState: TypeAlias = int | np.integer[Any] | np.random.RandomState | np.random.Generator | None
Stream: TypeAlias = np.random.RandomState | np.random.Generator
Uniform01: TypeAlias = Callable[[], float]

_BLOCK = 256
_TAKEN = "taken"


def uniform_numbers(random_state: RandomState) -> Uniform01:
    """Return a function that draws one float from ``[0, 1)`` per call.

    Args:
        random_state: A seed, a numpy ``RandomState`` or ``Generator`` (used and advanced in
            place), or None for numpy's global state, the one ``np.random.seed`` sets.

    Raises:
        ValueError: ``random_state`` is something else, or a negative seed.
    """
    if random_state is None:
        return np.random.random_sample
    stream = _as_stream(random_state)
    if isinstance(stream, np.random.Generator):
        return stream.random
    return stream.random_sample


def own_stream(random_state: RandomState) -> Stream:
    """Return a random stream that only its owner draws from, and that can be pickled.

    For None the stream is seeded with one draw from numpy's global state: ``np.random.seed``
    still decides every number, but code that uses ``np.random`` in another thread no longer
    does.
    """
    if random_state is None:
        return np.random.default_rng(np.random.randint(0, 2**31, size=4))
    return _as_stream(random_state)


def stream_state(stream: Stream) -> dict[str, Any]:
    """Return the state of a stream as plain data, for `set_stream_state`."""
    if isinstance(stream, np.random.Generator):
        return dict(stream.bit_generator.state)
    return dict(stream.get_state(legacy=False))


def set_stream_state(stream: Stream, state: dict[str, Any]) -> None:
    """Set a stream to a state of `stream_state`.

    Raises:
        InvalidArgument: The state is of another kind of stream.
    """
    kind = stream_state(stream)["bit_generator"]
    if kind != state["bit_generator"]:
        raise InvalidArgument(
            "random_state",
            f"the saved random state is of {state['bit_generator']}, this one of {kind}.",
            "Resume with the same kind of random_state.",
        )
    if isinstance(stream, np.random.Generator):
        stream.bit_generator.state = state
    else:
        stream.set_state(state)


class UniformStream:
    """Draws uniform numbers from ``[0, 1)`` from a stream whose position can be saved.

    A stream that no other code draws from is read in blocks, since numpy takes ten times as long
    for single numbers and for its state before each sample.

    Args:
        random_state: As for `own_stream`.
    """

    def __init__(self, random_state: RandomState) -> None:
        self._stream = own_stream(random_state)
        self._is_shared = self._stream is random_state
        self._read(0)

    def __call__(self) -> float:
        """Return the next number."""
        if self._is_shared:
            return self._stream.random()
        if self._taken == len(self._block):
            self._read(0)
        self._taken += 1
        return self._block[self._taken - 1]

    def mark(self) -> tuple[dict[str, Any], int]:
        """Return the position: a state of the stream, and the count of numbers drawn since then."""
        return (stream_state(self._stream), 0) if self._is_shared else (self._before, self._taken)

    @staticmethod
    def state_at(mark: tuple[dict[str, Any], int]) -> dict[str, Any]:
        """Convert a position of `mark` to plain data, for `seek`."""
        state, taken = mark
        return {**state, _TAKEN: taken} if taken else state

    def seek(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_at`, or from a state of the stream.

        Raises:
            InvalidArgument: The state is of another kind of stream.
        """
        set_stream_state(self._stream, {k: v for k, v in state.items() if k != _TAKEN})
        self._read(state.get(_TAKEN, 0))

    def _read(self, taken: int) -> None:
        """Read the next block, of which `taken` numbers were drawn already."""
        self._before = stream_state(self._stream)
        size = taken if self._is_shared else max(_BLOCK, taken)
        self._block: list[float] = self._stream.random(size).tolist()
        self._taken = taken


def _as_stream(random_state: RandomState) -> Stream:
    if isinstance(random_state, np.random.RandomState | np.random.Generator):
        return random_state
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        if random_state < 0:
            raise InvalidArgument("random_state", f"a seed must be >= 0, got {random_state}.")
        return np.random.default_rng(int(random_state))
    raise InvalidArgument(
        "random_state",
        "must be None, an int seed, a numpy RandomState or a numpy Generator, "
        f"got {type(random_state).__name__}.",
    )
