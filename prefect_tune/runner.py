"""From a request to its results: the one road that `run`, `Tuner` and the flows share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_tune.engine.experiment import Experiment
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.planning.make_plan import make_plan
from prefect_tune.engine.planning.plan import ExperimentPlan
from prefect_tune.engine.planning.request import ExperimentRequest
from prefect_tune.error import ClusterError, ExperimentInterrupted, PrefectUnavailable
from prefect_tune.experiment.pickling.concealing import conceal
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.settings import TuneSettings, load_settings
from prefect_tune.space.value_checks import check_sendable, large_values
from prefect_tune.storage.experiment_dir import TRAINABLE_FILE, TUNER_FILE
from prefect_tune.trainable.shipping.packing import self_contained

if TYPE_CHECKING:
    from prefect_tune.orchestration.control.reruns import FlowRunMemory

_logger = logging.getLogger("prefect_tune")
#: Larger ones (those with data of `with_parameters`) have to be given again to be restored.
_LARGEST_TRAINABLE = 64 * 2**20


@dataclass
class Finished:
    """A run that has ended.

    Attributes:
        analysis: Its trials and results.
        interrupted: True if it was ended before its end.
        memory: What the surrounding flow run remembers of it; None outside of flow runs.
    """

    analysis: ExperimentAnalysis
    interrupted: bool = False
    memory: FlowRunMemory | None = None

    def has_failed(self) -> None:
        """Its failed trials fail the call, so a retry of the flow run is to try them again."""
        if self.memory is not None:
            self.memory.has_failed()


def execute(request: ExperimentRequest) -> Finished:
    """Validate a request and run it to its end.

    Raises:
        TuneError: As documented at `run`.
        ExperimentInterrupted: As documented at `run`.
    """
    settings = load_settings()
    memory = _flow_run_memory(request, settings)
    plan = make_plan(request, settings, memory)
    if plan.orchestrate:
        # Booting a Prefect server takes longest, so it starts first and everything else beside it.
        from prefect_tune.orchestration.server.api import start_server_early

        start_server_early()
    with ExitStack() as exit_stack:
        try:
            experiment = _prepare(plan, request, memory, exit_stack)
        except BaseException:
            # Nothing has come of it: the same objects may be given again in a better call.
            plan.first_states.give_back()
            raise
        plan = experiment.plan
        try:
            flow_run_id, flow_run_url = _run(experiment, plan)
        except PrefectUnavailable:
            plan.first_states.give_back()
            raise
        except ClusterError as error:
            raise ClusterError(
                f"{error} Results so far are in {experiment.directory.path}. When there is a "
                f"cluster, go on with\n    {request.resume_call(plan.name, plan.root)}"
            ) from error
    interruption = experiment.interruption
    metric, mode = plan.objectives
    analysis = ExperimentAnalysis(
        str(experiment.directory.path),
        trials=experiment.trials,
        default_metric=metric,
        default_mode=mode,
        storage=experiment.storage.location,
    )
    analysis.flow_run_id, analysis.flow_run_url = flow_run_id, flow_run_url
    if interruption.reason is not None:
        message = (
            f"{interruption.reason}: the sweep has ended early; results so far are in "
            f"{experiment.directory.path}. Go on with\n    "
            f"{request.resume_call(plan.name, plan.root)}"
        )
        _logger.warning("%s", message)
        interruption.reraise()
        if interruption.out_of_time:
            raise TimeoutError(message)
        if settings.raise_on_interrupt:
            raise ExperimentInterrupted(message, analysis)
    return Finished(analysis, interruption.reason is not None, memory)


def _prepare(
    plan: ExperimentPlan,
    request: ExperimentRequest,
    memory: FlowRunMemory | None,
    exit_stack: ExitStack,
) -> Experiment:
    """Open the experiment on its cluster; `exit_stack` closes both."""
    # Imported late: a wrong argument should be told before Dask has been loaded.
    from prefect_tune.execution.cluster.api import connect, is_local_mode, is_output_shown
    from prefect_tune.execution.driver.dask_executor import DaskExecutor

    if is_local_mode():
        plan = plan.for_debugging()
    if not is_output_shown():
        plan = plan.without_output()
    if plan.run.isolation == "process" and isinstance(request.param_space, Mapping):
        check_sendable(request.param_space, request.space_argument)
        if heavy := large_values(request.param_space):
            _logger.warning(
                "`%s`: %s travels to each trial on its own. As tune.with_parameters(trainable, "
                "NAME=...) it gets to each node once, and trials share it.",
                request.space_argument,
                ", ".join(heavy),
            )
    executor = DaskExecutor(
        connect(plan.run.cluster, autostart=not plan.settings.disable_auto_init),
        plan.settings.wait_for_workers_s,
    )
    exit_stack.callback(executor.close)
    if plan.resources is not None and not plan.settings.disable_resource_checks:
        executor.validate_request(plan.resources)
    experiment = _opened(lambda: Experiment(plan, executor), memory)
    exit_stack.callback(experiment.close)
    if not plan.resume:
        _write_arguments(experiment, request)
    if memory is not None:
        memory.remember(plan.name, plan.origin or plan.experiment_id)
    experiment.open()
    if memory is not None:
        memory.remember(plan.name, experiment.origin)
    return experiment


def _write_arguments(experiment: Experiment, request: ExperimentRequest) -> None:
    """Write what `Tuner.restore` reads, or remove what an earlier run has left."""
    directory, trainable = experiment.directory, experiment.plan.trainable
    small = request.saved is not None and trainable.size <= _LARGEST_TRAINABLE
    for name, data in (
        (TUNER_FILE, request.saved),
        (TRAINABLE_FILE, self_contained(trainable) if small else None),
    ):
        pickles, is_secret = experiment.plan.pickles, bool(request.run_config.env_vars)
        sealed = data and conceal(pickles, pickles.sealed(name, data), is_secret=is_secret)
        directory.write(name, sealed)


def _flow_run_memory(request: ExperimentRequest, settings: TuneSettings) -> FlowRunMemory | None:
    """What the surrounding flow run has begun in an earlier execution; None without one."""
    orchestrate = request.run_config.orchestrate
    # Inside a flow run Prefect has been imported; looking for one must not import it.
    if "prefect" not in sys.modules or not (
        settings.orchestrate if orchestrate is None else orchestrate
    ):
        return None
    from prefect_tune.orchestration.control.reruns import flow_run_memory

    return flow_run_memory(settings.lease_s)


def _opened(open_experiment: Callable[[], Experiment], memory: FlowRunMemory | None) -> Experiment:
    return open_experiment() if memory is None else memory.when_free(open_experiment)


def _run(experiment: Experiment, plan: ExperimentPlan) -> tuple[str | None, str | None]:
    """Run the engine, inside a Prefect flow run or without; returns the flow run's id and URL."""
    if not plan.orchestrate:
        experiment.run(DirectLauncher(experiment.executor))
        return None, None
    from prefect_tune.orchestration.record.experiment_flow import run_experiment_in_flow

    return run_experiment_in_flow(experiment)
