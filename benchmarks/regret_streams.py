"""Sweeps of one toy through Ray Tune's schedulers and ours, in simulated time.

Nothing but the standard library is imported, so that it works in the peer's virtual environment.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from types import ModuleType
from typing import Any

from benchmarks.problems import NETWORK_LEAST, NETWORK_STEPS, network
from benchmarks.scheduler_streams import RUNNING, TERMINATED, Stream, StreamTrial
from benchmarks.subject import Values

SLOTS = 8
#: As long as 20 trials of average length take on the slots.
BUDGET_S = 20 * NETWORK_STEPS * 10 / SLOTS
PARTS = (0.25, 0.5, 1.0)
WAYS = ("random", "ASHA", "HyperBand", "PBT", "PB2")
UNITS = [32, 64, 128, 256, 512]


class TimedStream(Stream):
    """A sweep of `network`, whose trials report when they come to it in simulated time."""

    def __init__(self, scheduler: Any, seed: int, *, trials: int) -> None:
        super().__init__(scheduler, seed, trials=trials, slots=SLOTS, lookahead=min(trials, 20))
        self.best = math.inf
        self.regrets: list[float] = []
        self._agenda: list[tuple[float, int, StreamTrial]] = []
        self._launches: dict[str, int] = {}
        self._order = itertools.count()
        self._now = 0.0

    def run(self) -> TimedStream:
        self._go_on()
        for part in PARTS:
            while self._agenda and self._agenda[0][0] <= part * BUDGET_S:
                self._now, launch, trial = heapq.heappop(self._agenda)
                if trial.status == RUNNING and launch == self._launches[trial.trial_id]:
                    self._step(trial)
                self._go_on()
            self.regrets.append(self.best - NETWORK_LEAST)
        return self

    def _config(self, draw: random.Random) -> dict[str, Any]:
        return {
            "lr": 10 ** draw.uniform(-4, 0),
            "units": draw.choice(UNITS),
            "dropout": draw.uniform(0.0, 0.6),
        }

    def _go_on(self) -> None:
        """Launch what there are slots for, and do the first step of it."""
        known = len(self.log)
        self._fill()
        for what, *name in self.log[known:]:
            if what == "runs":
                self._schedule(self._trials[name[0]])

    def _schedule(self, trial: StreamTrial) -> None:
        launch = self._launches[trial.trial_id] = next(self._order)
        _, seconds = network(trial.config, self._time[trial.trial_id] + 1)
        heapq.heappush(self._agenda, (self._now + seconds, launch, trial))

    def _step(self, trial: StreamTrial) -> None:
        name = trial.trial_id
        self._time[name] += 1
        time = self._time[name]
        loss, _ = network(trial.config, time)
        self.best = min(self.best, loss)
        known = len(self.copies)
        result = {"training_iteration": time, "score": loss, "config": trial.config}
        decision = str(self._scheduler.on_trial_result(self, trial, result))
        trial.last_result = result
        if len(self.copies) > known or decision in ("PAUSE", "NOOP"):
            self.pause_trial(trial)
        elif decision == "STOP" or time >= NETWORK_STEPS:
            self._scheduler.on_trial_complete(self, trial, result)
            trial.status = TERMINATED
        else:
            self._schedule(trial)
        self.log.append([name, time, decision])


def regret_values(schedulers: ModuleType, pbt: Any, pb2: Any, way: str, seeds: int) -> Values:
    """The median regret of a way to search at parts of the time.

    Args:
        schedulers: Has the classes under Ray's names.
        pbt: The class for population based training, which tells the stream of copies.
        pb2: The same for PB2.
        way: One of `WAYS`.
        seeds: How many sweeps.
    """
    import numpy as np

    found = []
    for seed in range(seeds):
        random.seed(seed)
        np.random.seed(seed)
        common = {"time_attr": "training_iteration", "metric": "score", "mode": "min"}
        copying = {**common, "perturbation_interval": 9, "log_config": False}
        if way == "random":
            scheduler = schedulers.FIFOScheduler()
        elif way == "ASHA":
            scheduler = schedulers.AsyncHyperBandScheduler(
                **common, max_t=NETWORK_STEPS, reduction_factor=3
            )
        elif way == "HyperBand":
            scheduler = schedulers.HyperBandScheduler(**common, max_t=NETWORK_STEPS)
        elif way == "PBT":
            mutations = {
                "lr": lambda: 10 ** random.uniform(-4, 0),
                "units": UNITS,
                "dropout": lambda: random.uniform(0.0, 0.6),
            }
            scheduler = pbt(**copying, hyperparam_mutations=mutations)
        else:
            bounds = {"lr": [1e-4, 1.0], "dropout": [0.0, 0.6]}
            scheduler = pb2(**copying, hyperparam_bounds=bounds)
        trials = 20 if way in ("PBT", "PB2") else 2000
        found.append(TimedStream(scheduler, seed, trials=trials).run().regrets)
    return {
        f"regret at {part:.0%}": sorted(at)[len(at) // 2]
        for part, at in zip(PARTS, zip(*found, strict=True), strict=True)
    }
