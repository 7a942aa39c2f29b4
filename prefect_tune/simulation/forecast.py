"""Forecasts the time and cost of a sweep before it runs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import InvalidArgument
from prefect_tune.resources import CPU, GPU, MILLI, Resources
from prefect_tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from prefect_tune.schedulers.quantile import GrowingQuantile
from prefect_tune.simulation.attempt import Program, Step
from prefect_tune.simulation.cluster import SimulatedCluster
from prefect_tune.simulation.run import setup_simulation, simulate_request
from prefect_tune.validation import check_count, check_number, seconds_from

#: Sweeps that are simulated where no formula applies.
_SIMULATED = 5
_MOST_SIMULATED_TRIALS = 20_000
#: Trials for which the rule of ASHA is simulated.
_MOST_PLAYED = 20_000
_EXACT = "exact"
_BY_RULE = "bounds and mean by the rule of ASHA, with trials that come in random order"


@dataclass(frozen=True)
class Bounds:
    """Bounds and mean of a number that depends on the results of trials.

    Attributes:
        low: The lower bound; with simulated sweeps the least of them.
        expected: The mean if trials come in random order.
        high: The upper bound; with simulated sweeps the greatest of them.
    """

    low: float
    expected: float
    high: float

    def each(self, function: Callable[[float], float]) -> Bounds:
        """Return the bounds with `function` applied to each number."""
        return Bounds(function(self.low), function(self.expected), function(self.high))

    def __mul__(self, factor: float) -> Bounds:
        return self.each(lambda number: number * factor)

    def __str__(self) -> str:
        if math.isclose(self.low, self.high):
            return f"{self.expected:,.4g}"
        return f"{self.expected:,.4g} ({self.low:,.4g} to {self.high:,.4g})"


@dataclass(frozen=True)
class Rung:
    """Step at which a scheduler compares trials, and how many trials reach it."""

    step: float
    trials: Bounds


@dataclass(frozen=True)
class SweepPlan:
    """Forecast of what a sweep will take.

    Attributes:
        trials: Number of trials; None if only the time budget ends the search.
        concurrency: How many trials run at the same time.
        steps_per_trial: Steps of a trial that runs to its end.
        rungs: The scheduler's rungs with their numbers of trials; empty if it has none.
        steps: Steps (epochs) of all trials together.
        hours: Hours from the beginning of the sweep to its end.
        cpu_hours: Hours for which trials hold CPUs.
        gpu_hours: Hours for which trials hold GPUs.
        cost: Price of the cluster for these hours.
        basis: How the numbers were obtained: exactly, by a formula, or by simulation.
    """

    trials: int | None
    concurrency: int
    steps_per_trial: int
    rungs: tuple[Rung, ...]
    steps: Bounds
    hours: Bounds
    cpu_hours: Bounds
    gpu_hours: Bounds
    cost: Bounds
    basis: str

    def __str__(self) -> str:
        rows = [
            ("trials", "until the time is over" if self.trials is None else f"{self.trials:,}"),
            ("at the same time", f"{self.concurrency:,}"),
            ("steps of a whole trial", f"{self.steps_per_trial:,}"),
            *((f"trials at step {rung.step:g}", str(rung.trials)) for rung in self.rungs),
            ("steps in all", str(self.steps)),
            ("hours", str(self.hours)),
            ("CPU hours", str(self.cpu_hours)),
        ]
        if self.gpu_hours.high:
            rows.append(("GPU hours", str(self.gpu_hours)))
        if self.cost.high:
            rows.append(("cost", str(self.cost)))
        rows.append(("basis", self.basis))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def forecast(
    request: ExperimentRequest,
    *,
    seconds_per_step: float,
    steps: int | None = None,
    cluster: SimulatedCluster | None = None,
) -> SweepPlan:
    """Forecast the sweep of a request; see `plan` for the arguments."""
    check_number("seconds_per_step", seconds_per_step, above=0)
    cluster = SimulatedCluster() if cluster is None else cluster
    made, _ = setup_simulation(request)
    whole = _steps_per_trial(made, steps)
    if made.resources is None:
        raise InvalidArgument(
            "resources_per_trial",
            "they depend on the configuration.",
            "Give the same for all trials to plan with, or simulate the sweep.",
        )
    concurrency = cluster.concurrency(made.resources)
    if not concurrency:
        raise InvalidArgument(
            "cluster", f"no machine of it has {made.resources}.", "Give machines that do."
        )
    limits = [concurrency, made.max_running or concurrency]
    trials = made.source.total()
    if trials is not None:
        limits.append(trials)
    budget = made.tune.time_budget_s
    budget_h = None if budget is None else seconds_from("time_budget_s", budget) / 3600
    work = _Work(made, made.resources, cluster, min(limits), whole, seconds_per_step, budget_h)
    scheduler = made.scheduler
    if trials is None or cluster.has_faults or cluster.straggler_share:
        return work.by_simulation(request, trials)
    if type(scheduler) is FIFOScheduler:
        return work.by_total_steps(trials, (), Bounds(*[float(trials * whole)] * 3), _EXACT)
    if (
        isinstance(scheduler, AsyncHyperBandScheduler)
        and scheduler.time_attr == "training_iteration"
        and len(scheduler.milestones) == 1
    ):
        rungs = _asha_rungs(trials, scheduler.milestones[0], whole, scheduler.reduction_factor)
        total = _steps_of(rungs)
        return work.by_total_steps(trials, rungs, total, _BY_RULE)
    return work.by_simulation(request, trials)


@dataclass(frozen=True)
class _Work:
    """Computes the hours and the cost of a planned sweep."""

    setup: ExperimentSetup
    resources: Resources
    cluster: SimulatedCluster
    concurrency: int
    steps: int
    seconds: float
    budget_h: float | None

    def by_total_steps(
        self, trials: int, rungs: tuple[Rung, ...], steps: Bounds, basis: str
    ) -> SweepPlan:
        """Return the plan of a sweep with a known total of steps."""
        slots, start = self.concurrency, self.cluster.start_s
        held = steps.each(lambda number: (number * self.seconds + trials * start) / 3600)
        longest = (self.steps * self.seconds + start) / 3600
        if basis == _EXACT:
            rounds = -(-trials // slots)
            hours = Bounds(*[rounds * longest] * 3)
        else:
            # No list schedule is longer (Graham 1966), and none can be shorter.
            slack = longest * (1 - 1 / slots)
            low = max(held.low / slots, longest)
            high = held.high / slots + slack
            expected = min(max(held.expected / slots + slack / 2, low), high)
            hours = Bounds(low, expected, high)
        budget = self.budget_h
        if budget is not None and hours.high > budget:
            basis += "; the time budget may end it before"
            cut = hours.each(lambda number: min(number, budget))
            share = cut.expected / hours.expected
            steps, held, hours = _cut_short(steps, share), _cut_short(held, share), cut
        resources = self.resources
        return SweepPlan(
            trials,
            slots,
            self.steps,
            rungs,
            steps,
            hours,
            held * (resources.get_milli(CPU) / MILLI),
            held * (resources.get_milli(GPU) / MILLI),
            hours * (self.cluster.nodes * self.cluster.price_per_hour),
            basis,
        )

    def by_simulation(self, request: ExperimentRequest, trials: int | None) -> SweepPlan:
        """Return the plan of a sweep from simulations with trials in random order."""
        if trials is None and self.budget_h is None:
            raise InvalidArgument(
                "num_samples", "the search never ends.", "Give a time_budget_s or a number."
            )
        if trials is not None and trials > _MOST_SIMULATED_TRIALS:
            raise InvalidArgument(
                "num_samples",
                f"{trials} trials of {type(self.setup.scheduler).__name__} would be simulated.",
                f"Plan with at most {_MOST_SIMULATED_TRIALS}, and scale the result up.",
            )
        tune = request.tune_config
        metric, _ = self.setup.objectives
        names = [metric] if isinstance(metric, str) else list(metric or ["_metric"])
        found = []
        for seed in range(_SIMULATED):
            seeded = replace(
                request, tune_config=replace(tune, seed=seed if tune.seed is None else tune.seed)
            )
            program = _random_order(names, self.steps, self.seconds, seed)
            analysis = simulate_request(seeded, program, self.cluster, keep_results=False)
            found.append(analysis.simulation)

        def bounds(number: Callable[[Any], float]) -> Bounds:
            return _bounds([number(summary) for summary in found])

        return SweepPlan(
            trials,
            self.concurrency,
            self.steps,
            (),
            bounds(lambda summary: summary.num_results),
            bounds(lambda summary: summary.seconds / 3600),
            bounds(lambda summary: summary.hours_used.get(CPU, 0.0)),
            bounds(lambda summary: summary.hours_used.get(GPU, 0.0)),
            bounds(lambda summary: summary.cost),
            f"least, mean and most of {_SIMULATED} simulated sweeps with trials in random order",
        )


def _cut_short(bounds: Bounds, share: float) -> Bounds:
    """Return bounds for a sweep that may end early: the mean times `share`, the same maximum."""
    expected = bounds.expected * share
    return Bounds(min(bounds.low, expected), expected, bounds.high)


def _bounds(numbers: Sequence[float]) -> Bounds:
    return Bounds(min(numbers), sum(numbers) / len(numbers), max(numbers))


def _random_order(names: list[str], steps: int, seconds: float, seed: int) -> Program:
    draw = random.Random(seed)

    def program(config: dict[str, Any]) -> Any:
        metrics = {name: draw.random() for name in names}
        for _ in range(steps):
            yield Step(metrics, seconds)

    return program


def _steps_per_trial(setup: ExperimentSetup, steps: int | None) -> int:
    """Return the number of steps of a trial that no scheduler stops early."""
    limits: list[float] = []
    if steps is not None:
        check_count("steps", steps, at_least=1)
        limits.append(steps)
    scheduler = setup.scheduler
    if (
        isinstance(scheduler, AsyncHyperBandScheduler)
        and scheduler.time_attr == "training_iteration"
        and scheduler.stops_at is not None
    ):
        limits.append(math.ceil(scheduler.stops_at))
    stop = setup.run.stop
    if isinstance(stop, dict) and "training_iteration" in stop:
        limits.append(math.ceil(stop["training_iteration"]))
    if not limits:
        raise InvalidArgument(
            "steps",
            "nothing says how many steps a trial has.",
            "Give it, or stop={'training_iteration': N}, or a scheduler with max_t.",
        )
    return int(min(limits))


def _asha_rungs(
    trials: int, milestones: Sequence[float], whole: int, factor: float
) -> tuple[Rung, ...]:
    """Return how many trials reach each rung, and the end."""
    steps = [milestone for milestone in milestones if milestone < whole]
    expected = _expected_at(trials, len(steps), 1 - 1 / factor)
    # The first trial at a rung always goes on, and all do if each is better than those before.
    least = [float(trials), *[1.0] * len(steps)]
    return tuple(
        Rung(step, Bounds(low, mean, float(trials)))
        for step, low, mean in zip([*steps, whole], least, expected, strict=True)
    )


def _expected_at(trials: int, rungs: int, quantile: float) -> list[float]:
    """Return the mean numbers of trials that reach each rung and pass the last one.

    The trials at a higher rung are not in random order, because the first ones were compared with
    few others. No formula covers that, so the rule is simulated.
    """
    played = min(trials, _MOST_PLAYED)
    repeats = max(1, _MOST_PLAYED // played // 10)
    counts = [0] * (rungs + 1)
    draw = random.Random(0)
    for _ in range(repeats):
        known = [GrowingQuantile(quantile) for _ in range(rungs)]
        for _ in range(played):
            value = draw.random()
            counts[0] += 1
            for number, rung in enumerate(known, 1):
                cutoff = rung.value()
                rung.add(value)
                if cutoff is not None and value < cutoff:
                    break
                counts[number] += 1
    return [count / repeats * trials / played for count in counts]


def _steps_of(rungs: Sequence[Rung]) -> Bounds:
    """Return the steps of all trials together, which continue from rung to rung."""
    low = expected = high = 0.0
    before = 0
    for rung in rungs:
        step = math.ceil(rung.step)
        low += rung.trials.low * (step - before)
        expected += rung.trials.expected * (step - before)
        high += rung.trials.high * (step - before)
        before = step
    return Bounds(low, expected, high)
