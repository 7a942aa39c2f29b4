"""Gaussian process over time and hyperparameters in which older observations count less."""

from __future__ import annotations

import copy
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
    """A Gaussian process fitted to values that were observed at points of the unit cube and times.

    The kernel is ``exp(-r² / 2l²) * (1 - e) ** (|t - t'| / 2)``: Bogunovic et al., "Time-Varying
    Gaussian Process Bandit Optimization" (AISTATS 2016). Its length, how fast it forgets, and the
    noise are those of a small grid with the highest marginal likelihood.

    Args:
        times: Times of the observations, in the unit that `_FORGETTING` refers to.
        rows: Points of the observations.
        values: The observed values, with mean about 0 and deviation about 1.
    """

    def __init__(self, times: Array, rows: Array, values: Array) -> None:
        newest = slice(-_MOST_FITTED, None)
        self._length, self._forgetting, self._noise = _fit_kernel(
            times[newest], rows[newest], values[newest]
        )
        self._fit(times, rows, values)

    def _fit(self, times: Array, rows: Array, values: Array) -> None:
        self._times, self._rows, self._values = times, rows, values
        kernel = self._kernel(times, rows, times, rows) + self._noise * np.eye(len(values))
        self._inverse_root = np.linalg.inv(np.linalg.cholesky(kernel))
        self._weights = self._inverse_root.T @ (self._inverse_root @ values)

    def predict(self, times: Array, rows: Array) -> tuple[Array, Array]:
        """Return the means and standard deviations at some points and times."""
        kernel = self._kernel(times, rows, self._times, self._rows)
        explained = self._inverse_root @ kernel.T
        variance = np.maximum(1.0 - (explained**2).sum(axis=0), 1e-12)
        return kernel @ self._weights, np.sqrt(variance)

    def with_pending(self, times: Array, rows: Array) -> TimeVaryingProcess:
        """Return a process with further observations whose values are the predicted means."""
        other = copy.copy(self)
        other._fit(
            np.concatenate([self._times, times]),
            np.concatenate([self._rows, rows]),
            np.concatenate([self._values, self.predict(times, rows)[0]]),
        )
        return other

    def _kernel(self, times: Array, rows: Array, others: Array, other_rows: Array) -> Array:
        squares, ages = _distances(times, rows, others, other_rows)
        return _spatial_kernel(squares, self._length) * _time_kernel(ages, self._forgetting)


def _distances(times: Array, rows: Array, others: Array, other_rows: Array) -> tuple[Array, Array]:
    """Return the squared distances between points, and their distances in time."""
    squares = ((rows[:, None, :] - other_rows[None, :, :]) ** 2).sum(axis=2)
    return squares, np.abs(times[:, None] - others[None, :])


def _spatial_kernel(squares: Array, length: float) -> Array:
    kernel: Array = np.exp(-0.5 * squares / length**2)
    return kernel


def _time_kernel(ages: Array, forgetting: float) -> Array:
    kernel: Array = (1 - forgetting) ** (ages / 2)
    return kernel


def _fit_kernel(times: Array, rows: Array, values: Array) -> tuple[float, float, float]:
    """Return the length, forgetting and noise with the highest marginal likelihood."""
    squares, ages = _distances(times, rows, times, rows)
    near = {length: _spatial_kernel(squares, length) for length in _LENGTHS}
    fresh = {forgetting: _time_kernel(ages, forgetting) for forgetting in _FORGETTING}
    return max(
        product(_LENGTHS, _FORGETTING, _NOISE),
        key=lambda chosen: _log_likelihood(near[chosen[0]] * fresh[chosen[1]], chosen[2], values),
    )


def _log_likelihood(kernel: Array, noise: float, values: Array) -> float:
    try:
        root = np.linalg.cholesky(kernel + noise * np.eye(len(values)))
    except np.linalg.LinAlgError:
        return -math.inf
    solved = np.linalg.solve(root, values)
    return float(-0.5 * solved @ solved - np.log(np.diag(root)).sum())
