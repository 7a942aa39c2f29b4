"""Ray Tune's import path of variant generation; see `prefect_tune.space`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect_tune.space import RandomState, RecursiveDependencyError, SearchSpace, VariantStream
from prefect_tune.space import grid_search as grid_search

__all__ = ["RecursiveDependencyError", "generate_variants", "grid_search"]


def generate_variants(
    unresolved_spec: Mapping[str, Any],
    constant_grid_search: bool = False,
    random_state: RandomState = None,
) -> Iterator[tuple[dict[tuple[Any, ...], Any], dict[str, Any]]]:
    """Yield the configurations of a search space, with the whole grid once, in Ray Tune's form.

    Args:
        unresolved_spec: The search space.
        constant_grid_search: Draw domains once, not anew for each grid point.
        random_state: Seed, numpy ``RandomState`` or ``Generator``; None to follow
            ``np.random.seed``.

    Yields:
        The values of the variables by path, such as ``("layers", 0, "units")``; and the
        configuration.
    """
    space = SearchSpace(unresolved_spec)
    paths = {variable.name: tuple(variable.path) for variable in space.walk()}
    stream = VariantStream(
        space, constant_grid_search=constant_grid_search, random_state=random_state
    )
    for variant in stream:
        resolved = {paths.get(name, (name,)): value for name, value in variant.resolved.items()}
        yield resolved, variant.config
