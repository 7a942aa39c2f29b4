"""`tune.simulate`: a sweep on a virtual clock, before an hour of a machine is spent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from prefect_tune.simulation.cluster import SimulatedCluster
from prefect_tune.simulation.forecast import SweepPlan, forecast
from prefect_tune.simulation.models import as_program
from prefect_tune.simulation.run import SimulatedAnalysis, simulate_request
from prefect_tune.simulation.surrogates import SURROGATES, Surrogate
from prefect_tune.tune_run import make_request


def simulate(
    model: Any,
    *,
    cluster: SimulatedCluster | None = None,
    steps: int | None = None,
    checkpoint_every: int | None = None,
    keep_results: bool = True,
    **arguments: Any,
) -> SimulatedAnalysis:
    """Run a sweep in simulated time, with the same coordinator, scheduler, searcher and stoppers.

    The same seed gives the same decisions, always. Nothing is written unless `storage_path` or
    `name` is given, which adds result files. Scheduler, searcher and stoppers are copied: those
    that are given stay as they are.

    Args:
        model: What trials do: ``f(config, step)`` (steps from 1) that returns the metrics, or
            ``(metrics, seconds)``, or None where the trial ends; ``f(config)`` that yields metrics
            or `Step` objects; an earlier experiment (analysis, results or directory), of which each
            trial does what the nearest configuration did; or ``"network"``, ``"branin"`` or
            ``"crossing"``, which bring a space and a metric along. A function may be called more
            than once for the same step.
        cluster: Where; None is one machine with 8 CPUs.
        steps: How many results a trial has at most; 100 by default for ``f(config, step)``.
        checkpoint_every: Trials save a checkpoint with every so many results; None does so where
            something may go on from one: with mishaps, and schedulers that pause or exploit.
        keep_results: Keep all results, in `SimulatedAnalysis.histories`. False saves memory and
            time: results are then delivered together up to the next one at which somebody may
            decide something, where the scheduler has no use for them before.
        **arguments: Those of `run`, such as `config`, `num_samples`, `scheduler`, `metric`, `mode`,
            `search_alg`, `stop`, `time_budget_s` (simulated seconds), `max_failures`, `seed`,
            `callbacks`.

    Returns:
        The trials and their results, as of `run`, and what they took in `simulation`.

    Raises:
        InvalidArgument: If an argument cannot work.
        InsufficientResources: If a trial asks for more than a machine has.
        TuneError: If the sweep does not go on; says why.
    """
    program = as_program(model, steps)
    surrogate = SURROGATES.get(model) if isinstance(model, str) else model
    if isinstance(surrogate, Surrogate):
        arguments = {"config": dict(surrogate.space), **arguments}
        if not _has_metric(arguments):
            arguments |= {"metric": surrogate.metric, "mode": surrogate.mode}
    request = make_request(_stand_in(model), **arguments)
    return simulate_request(
        request,
        program,
        cluster,
        checkpoint_every=checkpoint_every,
        keep_results=keep_results,
    )


def plan(
    trainable: Any = None,
    *,
    seconds_per_step: float,
    steps: int | None = None,
    cluster: SimulatedCluster | None = None,
    **arguments: Any,
) -> SweepPlan:
    """Say what a sweep will take before anything runs: trials, steps, hours, GPU hours, money.

    Where that depends on results there are bounds, and what it is on average if trials come in
    random order. FIFO and ASHA are reckoned; for every other scheduler, for clusters with mishaps
    and for searches without end a few sweeps are simulated.

    Args:
        trainable: The trainable; it is not run, and may be left out.
        seconds_per_step: How long a trial takes from one report to the next.
        steps: How many reports a whole trial has; None takes it from `stop` or the scheduler.
        cluster: Where, with its `price_per_hour`; None is one machine with 8 CPUs.
        **arguments: Those of `run`.

    Raises:
        InvalidArgument: If an argument cannot work, or it cannot be known how long trials are.
    """
    request = make_request(_stand_in("sweep") if trainable is None else trainable, **arguments)
    return forecast(request, seconds_per_step=seconds_per_step, steps=steps, cluster=cluster)


def _has_metric(arguments: dict[str, Any]) -> bool:
    """Return True if an argument brings a metric."""
    owners = (arguments.get("scheduler"), arguments.get("search_alg"))
    return "metric" in arguments or any(getattr(owner, "metric", None) for owner in owners)


def _stand_in(model: Any) -> Callable[[dict[str, Any]], None]:
    """Return a trainable with the name of a model, which is never run."""

    def simulated(config: dict[str, Any]) -> None: ...

    name = os.path.basename(model) if isinstance(model, str) else getattr(model, "__name__", "")
    simulated.__name__ = simulated.__qualname__ = name or getattr(model, "name", "simulated")
    return simulated
