"""`VariantSource`: make trials by random and grid search."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from prefect_tune.experiment.pickling.plain import dump, load_plain
from prefect_tune.search.basic_variant import BasicVariantGenerator
from prefect_tune.search.source import FINISHED, Finished, Suggestion
from prefect_tune.space import SearchSpace, format_tag

_LOOKAHEAD = 64


class VariantSource:
    """A trial source that makes trials of the variants of a search space.

    Args:
        generator: Generates the variants.
        space: The parsed search space.
        num_samples: Number of samples; -1 for endlessly many.
        max_concurrent: Limit of unfinished trials; 0 for none.
        seed: Seed of ids, and of draws unless the generator has its own ``random_state``.
        points: Configs to try first, before those of the generator.

    Raises:
        ValueError: The first variant cannot be made (for example a circular `sample_from`), or a
            preset names an unknown key.
    """

    lookahead = _LOOKAHEAD
    wants_results = False
    #: States are plain data, so that `restore_state` is safe with data from others.
    state_is_data = True

    def __init__(
        self,
        generator: BasicVariantGenerator,
        space: SearchSpace,
        num_samples: int = 1,
        max_concurrent: int = 0,
        seed: int | None = None,
        points: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._stream = generator.variants(space, num_samples, seed, points)
        self._max_concurrent = max_concurrent or generator.max_concurrent
        self._prefix = f"{random.Random(seed).getrandbits(20):05x}"
        self._count = 0
        self._live: set[str] = set()
        # The first variant is made once, so that errors of the space are found before a trial.
        start = self._stream.position()
        next(self._stream, None)
        self._stream.seek(start)

    def next(self) -> Suggestion | Literal[Finished.FINISHED] | None:
        """Return the next variant as a trial; None at the limit; `FINISHED` for the end."""
        if self._max_concurrent and len(self._live) >= self._max_concurrent:
            return None
        variant = next(self._stream, None)
        if variant is None:
            return FINISHED
        index, self._count = self._count, self._count + 1
        trial_id = f"{self._prefix}_{index:05d}"
        if self._max_concurrent:
            self._live.add(trial_id)
        tag = format_tag(index, variant.resolved)
        return Suggestion(trial_id, variant.config, variant.resolved, index, tag)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note that a trial has ended, for the concurrency limit."""
        self._live.discard(trial_id)

    def total(self) -> int | None:
        """Return the number of variants; None if endless."""
        return self._stream.total

    def adjust(self, samples: int, max_concurrent: int | None) -> None:
        """Add samples, and change the concurrency limit if there is one."""
        self._stream.extend(samples)
        self._max_concurrent = (
            max_concurrent if self._max_concurrent and max_concurrent else self._max_concurrent
        )

    def save_state(self) -> bytes:
        """Return the position in the variants, the counter of ids and the unfinished trials."""
        return dump((self._stream.position(), self._prefix, self._count, self._live))

    def restore_state(self, state: bytes) -> None:
        """Restore a state of `save_state`."""
        position, self._prefix, self._count, self._live = load_plain(state)
        self._stream.seek(position)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._stream.total} variants)"
