"""A Gaussian process over time and hyperparameters, whose older observations count less."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
_FORGETTING = (0.0, 0.03, 0.1, 0.3)
_NOISE = (1e-3, 1e-2, 1e-1)
#: The kernel's parameters are chosen by the newest rows only: each try costs the cube of them.
_MOST_FITTED = 200


class TimeVaryingProcess:
    """Fits ``y`` at rows of ``x`` in the unit cube, each observed at a time.

    The kernel is ``exp(-r² / 2l²) * (1 - e) ** (|t - t'| / 2)``: Bogunovic et al., "Time-Varying
    Gaussian Process Bandit Optimization" (AISTATS 2016). Its length, how fast it forgets, and the
    noise are those of a small grid with the highest marginal likelihood.

    Args:
        times: When, in units of which `_FORGETTING` holds.
        rows: Where.
        values: What, of mean about 0 and deviation about 1.
    """

    def __init__(self, times: Array, rows: Array, values: Array) -> None:
        self._times, self._rows, self._values = times, rows, values
        newest = slice(-_MOST_FITTED, None)
        part = times[newest], rows[newest], values[newest]
        grid = product(_LENGTHS, _FORGETTING, _NOISE)
        self._length, self._forgetting, self._noise = max(
            grid, key=lambda chosen: _log_likelihood(*part, *chosen)
        )
        kernel = self._kernel(times, rows, times, rows)
        self._root = np.linalg.cholesky(kernel + self._noise * np.eye(len(values)))
        self._weights = np.linalg.solve(self._root.T, np.linalg.solve(self._root, values))

    def predict(self, times: Array, rows: Array) -> tuple[Array, Array]:
        """Mean and deviation at some rows."""
        kernel = self._kernel(times, rows, self._times, self._rows)
        explained = np.linalg.solve(self._root, kernel.T)
        variance = np.maximum(1.0 - (explained**2).sum(axis=0), 1e-12)
        return kernel @ self._weights, np.sqrt(variance)

    def with_pending(self, times: Array, rows: Array) -> TimeVaryingProcess:
        """The process if what is tried there came out as expected, and so taught nothing new."""
        expected, _ = self.predict(times, rows)
        other = object.__new__(TimeVaryingProcess)
        other._length, other._forgetting, other._noise = (
            self._length,
            self._forgetting,
            self._noise,
        )
        other._times = np.concatenate([self._times, times])
        other._rows = np.concatenate([self._rows, rows])
        other._values = np.concatenate([self._values, expected])
        kernel = other._kernel(other._times, other._rows, other._times, other._rows)
        other._root = np.linalg.cholesky(kernel + other._noise * np.eye(len(other._values)))
        other._weights = np.linalg.solve(other._root.T, np.linalg.solve(other._root, other._values))
        return other

    def _kernel(self, times: Array, rows: Array, others: Array, other_rows: Array) -> Array:
        return _kernel(times, rows, others, other_rows, self._length, self._forgetting)


def _kernel(
    times: Array, rows: Array, others: Array, other_rows: Array, length: float, forgetting: float
) -> Array:
    squares = ((rows[:, None, :] - other_rows[None, :, :]) ** 2).sum(axis=2)
    ages = np.abs(times[:, None] - others[None, :])
    kernel: Array = np.exp(-0.5 * squares / length**2) * (1 - forgetting) ** (ages / 2)
    return kernel


def _log_likelihood(
    times: Array, rows: Array, values: Array, length: float, forgetting: float, noise: float
) -> float:
    kernel = _kernel(times, rows, times, rows, length, forgetting)
    try:
        root = np.linalg.cholesky(kernel + noise * np.eye(len(values)))
    except np.linalg.LinAlgError:
        return -math.inf
    solved = np.linalg.solve(root, values)
    return float(-0.5 * solved @ solved - np.log(np.diag(root)).sum())
