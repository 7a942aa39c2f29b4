"""Where the uniform random numbers of the search space come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from prefect_tune.error import InvalidArgument

RandomState: TypeAlias = int | np.integer[Any] | np.random.RandomState | np.random.Generator | None
Stream: TypeAlias = np.random.RandomState | np.random.Generator
Uniform01: TypeAlias = Callable[[], float]


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
    """Where a stream is now: plain data, for `set_stream_state`."""
    if isinstance(stream, np.random.Generator):
        return dict(stream.bit_generator.state)
    return dict(stream.get_state(legacy=False))


def set_stream_state(stream: Stream, state: dict[str, Any]) -> None:
    """Continues a stream from a saved state.

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
