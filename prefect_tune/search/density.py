"""Kernel density estimates over the unit cube, of good and of bad configurations.

As in BOHB: Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML
2018), after the tree-structured Parzen estimator of Bergstra et al. (2011).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ProductDensity:
    """A density that is a product of one-dimensional kernels around points.

    Numbers have normal kernels, categories those of Aitchison and Aitken. Bandwidths follow the
    rule of thumb for normal data.

    Args:
        points: One row for each; numbers in the unit interval, categories as their inrngs.
        categories: Number of categories in each column, 0 for numbers.
        least_bandwidth: The lower limit of bandwidths.
    """

    def __init__(self, points: Array, categories: Array, least_bandwidth: float) -> None:
        count, dims = points.shape
        spread = 1.06 * points.std(axis=0) * count ** (-1 / (4 + dims))
        most = np.where(categories > 0, 1 - 1 / np.maximum(categories, 2), np.inf)
        self.points = points
        self.bandwidths = np.clip(spread, least_bandwidth, np.maximum(most, least_bandwidth))
        self._categories = categories

    def at(self, candidates: Array) -> Array:
        """Return the density at each of the candidates."""
        total = np.ones((len(candidates), len(self.points)))
        for column, (size, width) in enumerate(zip(self._categories, self.bandwidths, strict=True)):
            distance = candidates[:, column, None] - self.points[None, :, column]
            if size:
                other = width / max(size - 1, 1)
                total *= np.where(distance == 0, 1 - width, other)
            else:
                total *= np.exp(-0.5 * (distance / width) ** 2) / (width * math.sqrt(2 * math.pi))
        mean: Array = total.mean(axis=1)
        return mean

    def draw(self, count: int, factor: float, rng: np.random.Generator) -> Array:
        """Draw rows around the points, with wider kernels for numbers.

        Args:
            count: The number of rows.
            factor: Factor of the kernels' widths.
            rng: The random generator.
        """
        drawn = self.points[rng.integers(len(self.points), size=count)].copy()
        for column, (size, width) in enumerate(zip(self._categories, self.bandwidths, strict=True)):
            if size:
                anew = rng.random(count) < width
                drawn[anew, column] = rng.integers(int(size), size=int(anew.sum()))
            else:
                drawn[:, column] = _truncated_normal(drawn[:, column], width * factor, rng)
        return drawn


def _truncated_normal(means: Array, width: float, rng: np.random.Generator) -> Array:
    """Draw from normal distributions within the unit interval."""
    values = rng.normal(means, width)
    for _ in range(100):
        outside = (values < 0) | (values >= 1)
        if not outside.any():
            return values
        values[outside] = rng.normal(means[outside], width)
    return np.clip(values, 0, 1 - 1e-9)
