"""`tune.simulate`: a sweep on a virtual clock, before an hour of a machine is spent."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect_tune.callback import Callback
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.engine.wiring import coordinator_options
from prefect_tune.execution.driver.dask_resources import check_fits
from prefect_tune.logger import CSVLoggerCallback, JsonLoggerCallback
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.settings import load_settings
from prefect_tune.simulation.attempt import Program
from prefect_tune.simulation.cluster import SimulatedCluster
from prefect_tune.simulation.models import as_program
from prefect_tune.simulation.summary import SimulationSummary
from prefect_tune.simulation.surrogates import SURROGATES, Surrogate
from prefect_tune.simulation.sweep import SimulatedSweep
from prefect_tune.tune_run import make_request
from prefect_tune.validation import check_type


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
    request = make_request(stand_in(model), **arguments)
    return simulate_request(
        request,
        program,
        cluster,
        checkpoint_every=checkpoint_every,
        keep_results=keep_results,
    )


def _has_metric(arguments: dict[str, Any]) -> bool:
    """Return True if an argument brings a metric."""
    owners = (arguments.get("scheduler"), arguments.get("search_alg"))
    return "metric" in arguments or any(getattr(owner, "metric", None) for owner in owners)


def stand_in(model: Any) -> Callable[[dict[str, Any]], None]:
    """Return a trainable with the name of a model, which is never run."""

    def simulated(config: dict[str, Any]) -> None: ...

    name = os.path.basename(model) if isinstance(model, str) else getattr(model, "__name__", "")
    simulated.__name__ = simulated.__qualname__ = name or getattr(model, "name", "simulated")
    return simulated


class SimulatedAnalysis(ExperimentAnalysis):
    """Results of a simulated sweep; times are simulated seconds from its beginning.

    Attributes:
        simulation: What it has taken.
        histories: All results of each trial by its id, if they were kept.
    """

    simulation: SimulationSummary
    histories: dict[str, list[dict[str, Any]]]


def simulate_request(
    request: ExperimentRequest,
    program: Program,
    cluster: SimulatedCluster | None = None,
    *,
    checkpoint_every: int | None = None,
    keep_results: bool = True,
) -> SimulatedAnalysis:
    """`simulate` for a request; see there."""
    setup, writes = setup_simulation(request)
    return simulate_setup(
        setup,
        program,
        SimulatedCluster() if cluster is None else cluster,
        callbacks=setup.callbacks if writes or request.run_config.callbacks else (),
        checkpoint_every=checkpoint_every,
        keep_results=keep_results,
    )


def simulate_setup(
    setup: ExperimentSetup,
    program: Program,
    cluster: SimulatedCluster,
    *,
    callbacks: Sequence[Callback] = (),
    checkpoint_every: int | None = None,
    keep_results: bool = True,
) -> SimulatedAnalysis:
    """Simulate a sweep from its setup; see `simulate`."""
    check_type("cluster", cluster, SimulatedCluster, "a SimulatedCluster")
    if setup.resources is not None:
        nodes = {"a simulated node": (has := cluster.node(1).resources)}
        nodes |= {f"node {number}": has for number in range(2, cluster.nodes + 1)}
        check_fits(setup.resources, nodes)
    directory = Path(setup.root) / setup.name
    options = coordinator_options(setup, directory, None, None)
    sweep = SimulatedSweep(
        setup,
        program,
        cluster,
        # The search answers at once: nothing has to wait for a slot beforehand.
        replace(options, lookahead=1, stop_patience_s=0.0, cleanup_s=0.0),
        checkpoint_every=checkpoint_every,
        callbacks=callbacks,
        keep_results=keep_results,
    )
    sweep.run()
    metric, mode = setup.objectives
    analysis = SimulatedAnalysis(
        str(directory),
        trials=sweep.trials,
        default_metric=metric,
        default_mode=mode,
    )
    analysis.simulation, analysis.histories = sweep.summary, sweep.histories
    return analysis


def setup_simulation(request: ExperimentRequest) -> tuple[ExperimentSetup, bool]:
    """Return the setup of a request, made of copies, and whether result files are to be written.

    Raises:
        InvalidArgument: If an argument cannot work.
    """
    run = request.run_config
    writes = run.name is not None or run.storage_path is not None or run.local_dir is not None
    settings = load_settings().model_copy(update={"disable_auto_callback_loggers": True})
    tune = request.tune_config
    callbacks = list(run.callbacks or ())
    if writes:
        callbacks += [CSVLoggerCallback(), JsonLoggerCallback()]
    copied = replace(
        request,
        tune_config=replace(
            tune,
            scheduler=copy.deepcopy(tune.scheduler),
            search_alg=copy.deepcopy(tune.search_alg),
        ),
        run_config=replace(run, stop=copy.deepcopy(run.stop), callbacks=callbacks or None),
        resume=None,
        restore=None,
    )
    return make_setup(copied, settings), writes
