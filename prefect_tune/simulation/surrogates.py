"""Ready-made models of training with a known optimum, to try schedulers and searchers on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_tune.space import choice, loguniform, uniform

#: Steps of a whole trial of the stock models.
_STEPS = 81


@dataclass(frozen=True)
class Surrogate:
    """A model of training whose best outcome is known.

    Attributes:
        name: Its name.
        curve: `f(config, step) -> (metrics, seconds)`.
        space: The search space.
        metric: The metric to optimise.
        mode: ``min`` or ``max``.
        optimum: The best value of any configuration at `max_t`.
        max_t: Steps of a trial that runs to its end.
    """

    name: str
    curve: Callable[[dict[str, Any], int], tuple[dict[str, Any], float]]
    space: Mapping[str, Any]
    metric: str
    mode: str
    optimum: float
    max_t: int = _STEPS

    def __call__(self, config: dict[str, Any], step: int) -> tuple[dict[str, Any], float]:
        """Return the metrics of a step, and the seconds that it takes."""
        return self.curve(config, step)


def _noise(config: Mapping[str, Any], step: int, scale: float) -> float:
    """Return noise that depends on the configuration and the step only."""
    return random.Random(f"{sorted(config.items())}/{step}").gauss(0.0, scale)


def _network(config: dict[str, Any], step: int) -> tuple[dict[str, Any], float]:
    """Train a network: best with lr=0.01 and 256 units; larger ones are slower."""
    off = math.log10(config["lr"] / 0.01)
    width = math.log2(config["units"] / 256)
    floor = 0.1 + 0.15 * off**2 + 0.01 * width**2 + 0.5 * (config["dropout"] - 0.2) ** 2
    rate = 0.4 + 0.3 / (1.0 + 2.0 * off**2)
    end = (1 + _STEPS) ** -rate
    loss = floor + (2.0 - floor) * ((1 + step) ** -rate - end) / (1.0 - end)
    noise = _noise(config, step, 0.02) * (1.0 - step / _STEPS)
    return {"loss": loss + noise}, 10.0 * (0.5 + config["units"] / 512)


def _branin(config: dict[str, Any], step: int) -> tuple[dict[str, Any], float]:
    """Return Branin's function with a bias that vanishes as training goes on."""
    x, y = config["x"], config["y"]
    b, c = 5.1 / (4 * math.pi**2), 5 / math.pi
    value = (y - b * x**2 + c * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    left = 1.0 - step / _STEPS
    return {"loss": value + left * (20.0 + 0.2 * x * y + _noise(config, step, 2.0))}, 1.0


def _crossing(config: dict[str, Any], step: int) -> tuple[dict[str, Any], float]:
    """Return a curve that leads at first with a high rate, and wins with a low one."""
    off = math.log10(config["lr"] / 0.001)
    final = 0.9 - 0.2 * abs(off)
    speed = 0.02 * config["lr"] / 0.001 + 0.02
    return {
        "accuracy": final * (1 - math.exp(-speed * step)) / (1 - math.exp(-speed * _STEPS))
    }, 5.0


SURROGATES = {
    surrogate.name: surrogate
    for surrogate in (
        Surrogate(
            "network",
            _network,
            {
                "lr": loguniform(1e-4, 1.0),
                "units": choice([32, 64, 128, 256, 512]),
                "dropout": uniform(0.0, 0.6),
            },
            "loss",
            "min",
            0.1,
        ),
        Surrogate(
            "branin",
            _branin,
            {"x": uniform(-5.0, 10.0), "y": uniform(0.0, 15.0)},
            "loss",
            "min",
            0.397887,
        ),
        Surrogate("crossing", _crossing, {"lr": loguniform(1e-4, 1e-1)}, "accuracy", "max", 0.9),
    )
}
