"""How long each scheduler takes to decide about one result, with a thousand live trials."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Row
from benchmarks.subject import Values
from prefect_tune.experiment.trial import PAUSED, RUNNING, Trial
from prefect_tune.schedulers import SCHEDULERS, ASHAScheduler, TrialScheduler
from prefect_tune.testing.simulation import SimulatedController

_LIVE = 1000
_SECONDS = "time_total_s"
_POPULATION = {"perturbation_interval": 1, "hyperparam_mutations": {"x": [1, 2, 3]}}
#: By scheduler, its arguments besides metric and mode: those with which it decides most often.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "asha": {"max_t": 81, "reduction_factor": 3},
    "median_stopping_rule": {"time_attr": _SECONDS, "grace_period": 1},
    "hyperband": {"max_t": 81},
    "hb_bohb": {"max_t": 81},
    "pbt": {"time_attr": _SECONDS, **_POPULATION},
    "pb2": {
        "time_attr": _SECONDS,
        "perturbation_interval": 1,
        "hyperparam_bounds": {"x": [0.0, 4.0]},
    },
    "asha_promotion": {"max_t": 81, "reduction_factor": 3},
    "multi_objective_asha": {"metric": ["loss", "size"], "max_t": 81, "reduction_factor": 3},
}


class _Controller(SimulatedController):
    """Knows the waiting trials without a look at all, as the coordinator does."""

    def __init__(self) -> None:
        super().__init__(_LIVE)
        self.waiting: list[Trial] = []

    def get_waiting_trials(self) -> list[Trial]:
        return self.waiting


def measure(*, scheduler: str, results: int) -> Values:
    """Have trials report random metrics by turns, and take the CPU time of each decision."""
    made = _make(scheduler)
    controller = _Controller()
    count = 1 if scheduler == "pbt_replay" else _LIVE
    trials = [Trial(f"t{number}", {"x": 1}) for number in range(count)]
    for trial in trials:
        trial.status = RUNNING
        controller.add(trial)
        made.on_trial_add(controller, trial)
    draw = random.Random(1).random
    took: list[float] = []
    for step in range(1, results * _LIVE // count + 1):
        for trial in trials:
            if trial.status != RUNNING:
                continue
            result = {
                "training_iteration": step,
                _SECONDS: step + draw(),
                "loss": draw() + 1 / step,
                "size": draw(),
            }
            began = time.process_time()
            answer = made.on_trial_result(controller, trial, result)
            took.append(time.process_time() - began)
            if answer == made.STOP:
                made.on_trial_complete(controller, trial, result)
                controller.finish(trial)
            elif answer == made.PAUSE and scheduler not in ("pbt", "pb2"):
                trial.status = PAUSED
    took.sort()
    return {
        "median_us": statistics.median(took) * 1e6,
        "p99_us": took[int(0.99 * len(took))] * 1e6,
    }


def _make(name: str) -> TrialScheduler:
    arguments = {"metric": "loss", "mode": "min", **_ARGUMENTS.get(name, {})}
    if name == "resource_changing":
        arguments["base_scheduler"] = ASHAScheduler(metric="loss", mode="min", max_t=81)
    if name == "pbt_replay":
        with tempfile.TemporaryDirectory() as directory:
            policy = Path(directory) / "pbt_policy_a.txt"
            policy.write_text(json.dumps(["a", "b", 5, 5, {"x": 1}, {"x": 2}]))
            return SCHEDULERS.create(name, policy_file=str(policy))
    return SCHEDULERS.create(name, **arguments)


def rows(bench: Bench) -> Iterator[Row]:
    results = bench.size(40, quick=5)
    for scheduler in SCHEDULERS.names:
        found = bench.ours("scheduler_cost", scheduler=scheduler, results=results)
        for name, what in (("median_us", "median"), ("p99_us", "p99")):
            value = found.values.get(name)
            yield Row(f"{scheduler}: {what}", "us", value, "", None, None, found.problem or "")
