"""`BasicVariantGenerator`: random and grid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.search.searcher import check_points
from prefect_tune.space import RandomState, SearchSpace, VariantStream


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
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int):
            raise InvalidArgument("max_concurrent", f"must be an int, got {max_concurrent!r}.")
        if max_concurrent < 0:
            raise InvalidArgument(
                "max_concurrent", f"must be positive, or 0 for no limit, got {max_concurrent}."
            )
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
