"""`VariantStream`: generate the configurations of an experiment one after the other."""

from __future__ import annotations

import itertools
import numbers
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.message import message
from prefect_tune.space.random import RandomState, UniformStream
from prefect_tune.space.search_space import SearchSpace
from prefect_tune.space.template import Draw


@message(frozen=True, slots=True)
class Variant:
    """A configuration drawn from a search space.

    Attributes:
        config: The configuration, without anything left to resolve.
        resolved: The values of the variables by path ("a/b/0").
    """

    config: dict[str, Any]
    resolved: dict[str, Any]


@dataclass(frozen=True, slots=True)
class VariantPosition:
    """The position of a `VariantStream`, to continue it later; small and picklable.

    Attributes:
        sample: Index of the sample that the next variant belongs to.
        taken: How many of that sample's variants were generated.
        random: State of the random stream at the start of that sample.
    """

    sample: int
    taken: int
    random: dict[str, Any] = field(repr=False)


class VariantStream(Iterator[Variant]):
    """Generates the variants of ``num_samples`` samples, presets first; each repeats the grids.

    Each preset replaces one sample. What it does not name is drawn, and grids it does not name
    are kept.

    Args:
        space: The parsed space.
        num_samples: How many samples; -1 for endlessly many.
        points_to_evaluate: Presets.
        constant_grid_search: Draw domains once per sample, not anew for each grid point.
        random_state: Seed, numpy ``RandomState`` or ``Generator``; None to follow
            ``np.random.seed``.

    Raises:
        InvalidArgument: ``num_samples`` is negative and not -1, or a preset names an unknown key.
    """

    def __init__(
        self,
        space: SearchSpace,
        num_samples: int = 1,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
        constant_grid_search: bool = False,
        random_state: RandomState = None,
    ) -> None:
        check_num_samples(num_samples)
        self._space = space
        self._num_samples = num_samples
        self._presets = [space.with_preset(point) for point in points_to_evaluate]
        self._constant_grid_search = constant_grid_search
        self._uniform = uniform = UniformStream(random_state)
        #: For spaces that are quickly drawn.
        self._quantiles = space.quantiles()
        self._draw: Draw = lambda variable: variable.quantile(uniform())
        self._index = self._taken = 0
        self._enter(0)

    @property
    def total(self) -> int | None:
        """How many variants there are in all; None if endlessly many.

        Grids that appear only inside of chosen or computed values are not counted.
        """
        if self._num_samples < 0:
            return None
        presets = sum(space.grid_size for space in self._presets)
        return presets + max(0, self._num_samples - len(self._presets)) * self._space.grid_size

    def __next__(self) -> Variant:
        while True:
            config = next(self._sample, None)
            if config is not None:
                self._taken += 1
                return Variant(config, self._space.describe(config))
            index = self._index + 1
            if not self._has_sample(index):
                raise StopIteration
            if self._quantiles is None or index < len(self._presets):
                self._enter(index)
                continue
            uniform = self._uniform
            self._index = index
            self._taken = 1
            self._sample_start = uniform.mark()
            config = {name: quantile(uniform()) for name, quantile in self._quantiles}
            return Variant(config, config.copy())

    def extend(self, samples: int) -> None:
        """Add samples to the stream, unless it is endless."""
        if self._num_samples >= 0:
            self._num_samples += samples

    def position(self) -> VariantPosition:
        """Return the present position, for `seek`."""
        state = self._uniform.state_at(self._sample_start)
        return VariantPosition(self._index, self._taken, state)

    def seek(self, position: VariantPosition) -> None:
        """Go to a position of a stream with the same space and presets.

        ``num_samples`` may be another one. The rest of the sample that was under way is drawn as
        it would have been; functions of the user are called again for the part that is skipped.
        """
        self._uniform.seek(position.random)
        self._enter(position.sample)
        for _ in itertools.islice(self._sample, position.taken):
            self._taken += 1

    def _enter(self, index: int) -> None:
        self._index, self._taken = index, 0
        self._sample_start = self._uniform.mark()
        self._sample: Iterator[dict[str, Any]] = iter(())
        if self._has_sample(index):
            space = self._presets[index] if index < len(self._presets) else self._space
            self._sample = space.variants(self._draw, self._constant_grid_search)

    def _has_sample(self, index: int) -> bool:
        return index < len(self._presets) or self._num_samples < 0 or index < self._num_samples


def check_num_samples(num_samples: int) -> None:
    """Check that a number of samples is a positive integer, or -1 for endlessly many.

    Raises:
        InvalidArgument: If `num_samples` has another type or value.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, numbers.Integral):
        raise InvalidArgument(
            "num_samples", f"must be an int, got {type(num_samples).__name__}: {num_samples!r}."
        )
    if num_samples < -1 or num_samples == 0:
        raise InvalidArgument(
            "num_samples", f"must be positive, or -1 for endlessly many, got {num_samples}."
        )


def generate_variants(
    space: Mapping[str, Any],
    num_samples: int = 1,
    constant_grid_search: bool = False,
    random_state: RandomState = None,
) -> VariantStream:
    """Return a stream of all variants of a search space; arguments as for `VariantStream`."""
    return VariantStream(
        SearchSpace(space),
        num_samples,
        constant_grid_search=constant_grid_search,
        random_state=random_state,
    )


_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]+")


def format_tag(index: int, resolved: Mapping[str, Any]) -> str:
    """Return the experiment tag of a trial, such as ``"3_lr=0.0100,units=64"`` for trial 3.

    Args:
        index: Number of the trial.
        resolved: The trial's variables by path ("optimizer/lr"); only the last part is shown.

    Returns:
        The tag. Floats have four decimals, characters unfit for file names become "_".
    """
    if not resolved:
        return str(index)
    tag = f"{index}_"
    for path, label in _labels(tuple(resolved)):
        value = resolved[path]
        tag += f"{label}={value:.4f}," if type(value) is float else f"{label}={_clean(value)},"
    return tag[:-1]


@lru_cache(maxsize=256)
def _labels(paths: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the paths in order, each with its last part."""
    return [(path, _clean(path.rpartition("/")[2])) for path in sorted(paths)]


def _clean(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return _UNSAFE.sub("_", str(value)).strip("_")
