"""`BasicVariantGenerator`: random and grid search, and the source of its trials."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from prefect_tune.experiment.pickling.plain import dump, load_plain
from prefect_tune.search.searcher import check_points
from prefect_tune.search.source import FINISHED, Finished, Suggestion
from prefect_tune.space import RandomState, SearchSpace, VariantStream, format_tag
from prefect_tune.validation import check_count


class BasicVariantGenerator:
    """Random and grid search: draws each parameter independently and tries all grid combinations.

    An experiment without a search algorithm uses this one. It does not learn from results.

    Args:
        points_to_evaluate: Configs to try first. Each one replaces one of the ``num_samples``
            samples. It may be partial: what it does not name is drawn, and grids it does not name
            are kept.
        max_concurrent: Limit of unfinished trials; 0 for none.
        constant_grid_search: Draw domains once per sample instead of anew for each grid point.
        random_state: Seed, numpy ``RandomState`` or ``Generator``; None to follow
            ``np.random.seed``.

    Raises:
        InvalidArgument: ``max_concurrent`` is negative, or ``points_to_evaluate`` is no list.
    """

    def __init__(
        self,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: RandomState = None,
    ) -> None:
        check_count("max_concurrent", max_concurrent, at_least=0)
        self.points_to_evaluate, _ = check_points(points_to_evaluate, None)
        self.max_concurrent = max_concurrent
        self.constant_grid_search = constant_grid_search
        self.random_state = random_state
        #: Number of trials of the experiment it was last used for; None if endless.
        self.total_samples: int | None = 0

    def variants(
        self,
        space: SearchSpace,
        num_samples: int,
        seed: RandomState = None,
        points: Sequence[Mapping[str, Any]] = (),
    ) -> VariantStream:
        """Return the variants of an experiment.

        Args:
            space: The experiment's space.
            num_samples: Its number of samples; -1 for endlessly many.
            seed: Its seed, used if the generator has no ``random_state`` of its own.
            points: Configs to try before ``points_to_evaluate``.
        """
        stream = VariantStream(
            space,
            num_samples,
            [*points, *self.points_to_evaluate],
            self.constant_grid_search,
            seed if self.random_state is None else self.random_state,
        )
        self.total_samples = stream.total
        return stream


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

    lookahead = 64
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
