"""`tune.simulate` and `tune.plan`: try a sweep on a virtual clock, or forecast its cost."""

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

    The same seed gives the same decisions. Result files are written only if `storage_path` or
    `name` is given. Scheduler, searcher and stoppers are copied, so the given ones do not change.

    Args:
        model: Takes the place of the trainable: ``f(config, step)`` (steps from 1) that returns the
            metrics, or ``(metrics, seconds)``, or None to end the trial; ``f(config)`` that yields
            metrics or `Step` objects; an earlier experiment (analysis, results or directory), in
            which the trial with the nearest configuration is looked up; or ``"network"``,
            ``"branin"`` or ``"crossing"``, which have a space and a metric. A function may be
            called more than once for the same step.
        cluster: The machines; None is one machine with 8 CPUs.
        steps: Maximum of results of a trial; 100 by default for ``f(config, step)``.
        checkpoint_every: Results between two checkpoints of a trial; None writes checkpoints with
            each result if a trial may have to go on from one: if machines have faults, or the
            scheduler pauses or copies trials.
        keep_results: Keep all results, in `SimulatedAnalysis.histories`. False saves memory and
            time: if the scheduler permits it, results are delivered together, up to the next one
            that may be decided about.
        **arguments: Arguments of `run`, such as `config`, `num_samples`, `scheduler`, `metric`,
            `mode`, `search_alg`, `stop`, `time_budget_s` (simulated seconds), `max_failures`,
            `seed`, `callbacks`.

    Returns:
        The trials and their results, as of `run`; `simulation` has the time and cost.

    Raises:
        InvalidArgument: If an argument cannot work.
        InsufficientResources: If a trial asks for more than a machine has.
        TuneError: If the sweep cannot go on; says why.
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
    """Forecast the trials, steps, hours, GPU hours and cost of a sweep before it runs.

    Numbers that depend on results come as bounds, with their mean if trials come in random order.
    FIFO and ASHA are computed; for every other scheduler, for clusters with faults and for searches
    without end a few sweeps are simulated.

    Args:
        trainable: The trainable; it is not run, and may be left out.
        seconds_per_step: Seconds from one report of a trial to the next.
        steps: Number of reports of a whole trial; None takes it from `stop` or the scheduler.
        cluster: The machines, with `price_per_hour`; None is one machine with 8 CPUs.
        **arguments: Arguments of `run`.

    Raises:
        InvalidArgument: If an argument cannot work, or the length of trials is not known.
    """
    request = make_request(_stand_in("sweep") if trainable is None else trainable, **arguments)
    return forecast(request, seconds_per_step=seconds_per_step, steps=steps, cluster=cluster)


def _has_metric(arguments: dict[str, Any]) -> bool:
    """Return True if the arguments, or the scheduler among them, name a metric."""
    owners = (arguments.get("scheduler"), arguments.get("search_alg"))
    return "metric" in arguments or any(getattr(owner, "metric", None) for owner in owners)


def _stand_in(model: Any) -> Callable[[dict[str, Any]], None]:
    """Return a trainable with the name of a model, which is never run."""

    def simulated(config: dict[str, Any]) -> None: ...

    name = os.path.basename(model) if isinstance(model, str) else getattr(model, "__name__", "")
    simulated.__name__ = simulated.__qualname__ = name or getattr(model, "name", "simulated")
    return simulated
