"""Functions to minimise, with a known least value; only the standard library is needed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from benchmarks.subject import Values

Config = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """A function of a configuration.

    Attributes:
        space: Each parameter: ("float" | "log" | "int", low, high), bounds included, or ("choice",
            its values).
        loss: The function.
        least: Its least value.
        noise: Standard deviation of what is added to each observation.
    """

    space: dict[str, tuple[Any, ...]]
    loss: Callable[[Config], float]
    least: float
    noise: float = 0.0


class Objective:
    """A problem as one searcher sees it: it counts the evaluations and keeps the best.

    Args:
        problem: The problem.
        seed: Decides the noise.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.space = problem.space
        self.evaluations = 0
        self._problem = problem
        self._dice = random.Random(seed)
        self._best = math.inf
        self._regret = math.inf

    def __call__(self, config: Config) -> float:
        loss = self._problem.loss(config)
        observed = loss + self._dice.gauss(0, self._problem.noise)
        self.evaluations += 1
        if observed < self._best:
            self._best, self._regret = observed, loss - self._problem.least
        return observed

    @property
    def regret(self) -> float:
        """How far the configuration that looked best is from the least value."""
        return self._regret


Search = Callable[[Objective, int, int], None]
"""Minimises an objective with so many trials, and this seed."""


def search_values(search: Search, *, problem: str, trials: int, seeds: int) -> Values:
    """Mean regret over the seeds with its standard error, and CPU time per trial.

    Raises:
        RuntimeError: A search has not made `trials` evaluations.
    """
    search(Objective(PROBLEMS[problem], 0), 12, 0)  # which imports the library
    regrets, began = [], time.process_time()
    for seed in range(seeds):
        objective = Objective(PROBLEMS[problem], seed)
        search(objective, trials, seed)
        if objective.evaluations != trials:
            raise RuntimeError(f"{objective.evaluations} evaluations instead of {trials}")
        regrets.append(objective.regret)
    return {
        "regret": fmean(regrets),
        "error": stdev(regrets) / math.sqrt(seeds) if seeds > 1 else math.nan,
        "suggest_ms": (time.process_time() - began) / (trials * seeds) * 1000,
    }


def branin(config: Config) -> float:
    x, y = config["x"], config["y"]
    curve = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


_HARTMANN = (
    # weight, widths, centre
    (1.0, (10, 3, 17, 3.5, 1.7, 8), (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886)),
    (1.2, (0.05, 10, 17, 0.1, 8, 14), (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991)),
    (3.0, (3, 3.5, 1.7, 10, 17, 8), (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650)),
    (3.2, (17, 8, 0.05, 10, 0.1, 14), (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381)),
)


def hartmann6(config: Config) -> float:
    point = [config[f"x{index}"] for index in range(6)]
    total = 0.0
    for weight, widths, centre in _HARTMANN:
        square = sum(w * (x - c) ** 2 for w, x, c in zip(widths, point, centre, strict=True))
        total += weight * math.exp(-square)
    return -total


def mixed(config: Config) -> float:
    """Log, integer and choice; which of them count depends on the choice."""
    rate = abs(math.log10(config["rate"]) + 2.5)
    if config["kind"] == "tree":
        return 0.3 + rate + 0.1 * abs(config["depth"] - 7)
    other = {"relu": 0.0, "tanh": 0.4, "gelu": 0.2}[config["act"]]
    return rate + other + 2 * (config["drop"] - 0.2) ** 2 if config["kind"] == "net" else 3.0


#: Of `network`: its steps, and the least loss that any configuration comes to.
NETWORK_STEPS, NETWORK_LEAST = 81, 0.1


def network(config: Config, step: int) -> tuple[float, float]:
    """The stock model of that name, written down again: loss and seconds of a step."""
    off = math.log10(config["lr"] / 0.01)
    width = math.log2(config["units"] / 256)
    floor = 0.1 + 0.15 * off**2 + 0.01 * width**2 + 0.5 * (config["dropout"] - 0.2) ** 2
    rate = 0.4 + 0.3 / (1.0 + 2.0 * off**2)
    end = (1 + NETWORK_STEPS) ** -rate
    loss = floor + (2.0 - floor) * ((1 + step) ** -rate - end) / (1.0 - end)
    noise = random.Random(f"{sorted(config.items())}/{step}").gauss(0.0, 0.02)
    return loss + noise * (1.0 - step / NETWORK_STEPS), 10.0 * (0.5 + config["units"] / 512)


_BRANIN_SPACE = {"x": ("float", -5.0, 10.0), "y": ("float", 0.0, 15.0)}

PROBLEMS = {
    "Branin": Problem(_BRANIN_SPACE, branin, 0.397887),
    "noisy Branin": Problem(_BRANIN_SPACE, branin, 0.397887, noise=2.0),
    "Hartmann6": Problem(
        {f"x{index}": ("float", 0.0, 1.0) for index in range(6)}, hartmann6, -3.322368
    ),
    "mixed": Problem(
        {
            "kind": ("choice", ["tree", "net", "none"]),
            "rate": ("log", 1e-5, 1.0),
            "depth": ("int", 1, 20),
            "act": ("choice", ["relu", "tanh", "gelu"]),
            "drop": ("float", 0.0, 0.9),
        },
        mixed,
        0.0,
    ),
}
