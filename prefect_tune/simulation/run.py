"""Runs an experiment in simulated time, from its request to its results."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
from prefect_tune.simulation.summary import SimulationSummary
from prefect_tune.simulation.sweep import SimulatedSweep
from prefect_tune.validation import check_type


class SimulatedAnalysis(ExperimentAnalysis):
    """Results of a simulated sweep; times are simulated seconds from its beginning.

    Attributes:
        simulation: Time and cost.
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
    """Simulate the experiment that a request describes, otherwise as `simulate` does."""
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
    """Return the setup of a request, with copied parts, and True if result files are wanted.

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
