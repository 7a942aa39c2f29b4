"""Runs the experiment of a request; `run`, `Tuner` and the flows all call this module."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from prefect_tune.engine.experiment import RunningExperiment
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.engine.signals import SweepGroup, relay_signals
from prefect_tune.error import ClusterError, ExperimentInterrupted, PrefectUnavailable
from prefect_tune.experiment.pickling.encryption import encrypt_if_secret
from prefect_tune.experiments import Experiment
from prefect_tune.reporters.notebook import in_notebook
from prefect_tune.reporters.plain import PlainReporter
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.settings import TuneSettings, load_settings
from prefect_tune.space.value_checks import check_sendable, large_values
from prefect_tune.storage.experiment_dir import TRAINABLE_FILE, TUNER_FILE
from prefect_tune.trainable.shipping.packing import self_contained

if TYPE_CHECKING:
    from prefect_tune.orchestration.control.reruns import StoredRerunRecord
    from prefect_tune.orchestration.record.conclusion import FlowOutcome
    from prefect_tune.orchestration.record.early_start import EarlyStart
    from prefect_tune.orchestration.server.embedded import EmbeddedServer
    from prefect_tune.orchestration.server.without_prefect import ConfiguredServer


_logger = logging.getLogger("prefect_tune")
#: Trainables up to this size are saved; `Tuner.restore` needs larger ones as an argument.
_LARGEST_TRAINABLE = 64 * 2**20
_T = TypeVar("_T")


@dataclass
class FinishedRun:
    """The outcome of an experiment that has ended.

    Attributes:
        analysis: The experiment's trials and results.
        interrupted: True if the experiment was ended early.
        rerun_record: Records this sweep for a rerun of the flow run; None outside of flow runs.
    """

    analysis: ExperimentAnalysis
    interrupted: bool = False
    rerun_record: StoredRerunRecord | None = None

    def record_failure(self) -> None:
        """Record that failed trials make the call raise: a retry of the flow run retries them."""
        if self.rerun_record is not None:
            self.rerun_record.record_failure()


def execute(request: ExperimentRequest) -> FinishedRun:
    """Validate a request and run its experiment to the end.

    Raises:
        TuneError: As documented at `run`.
        ExperimentInterrupted: As documented at `run`.
    """
    settings = load_settings()
    if "prefect" in sys.modules:
        from prefect_tune.orchestration.trainables import wrap_prefect_trainable

        trainable = wrap_prefect_trainable(request.trainable, request.param_space)
        request = replace(request, trainable=trainable)
    request = _with_earlier_results(request)
    rerun_record = _make_rerun_record(request, settings)
    setup = make_setup(request, settings, rerun_record)
    # Booting a Prefect server takes longest, so it starts first and the rest runs meanwhile.
    server = _boot_server() if setup.orchestrate else None
    with ExitStack() as exit_stack:
        try:
            experiment = _prepare(setup, rerun_record, exit_stack)
        except BaseException:
            # The experiment has not begun: the user may give the same objects in another call.
            setup.initial_states.restore()
            raise
        setup = experiment.setup
        try:
            flow_run_id, flow_run_url = _run(experiment, setup, server)
        except PrefectUnavailable:
            setup.initial_states.restore()
            raise
        except ClusterError as error:
            raise ClusterError(
                f"{error} Results so far are in {experiment.directory.path}. When the cause is "
                f"removed, go on with\n    {request.resume_call(setup.name, setup.root)}"
            ) from error
    interruption = experiment.interruption
    metric, mode = setup.objectives
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
            f"{request.resume_call(setup.name, setup.root)}"
        )
        _logger.warning("%s", message)
        interruption.reraise()
        if interruption.out_of_time:
            raise TimeoutError(message)
        if settings.raise_on_interrupt:
            raise ExperimentInterrupted(message, analysis)
    return FinishedRun(analysis, interruption.reason is not None, rerun_record)


def _with_earlier_results(request: ExperimentRequest) -> ExperimentRequest:
    """Return the request with the sources of a warm start replaced by the results in them."""
    tune = request.tune_config
    if tune.warm_start_from is None:
        return request
    from prefect_tune.results.evaluated import read_evaluated

    given = tune.warm_start_from
    sources = given if isinstance(given, list | tuple) else [given]
    metric = tune.metric or getattr(tune.search_alg, "metric", None)
    return replace(
        request, tune_config=replace(tune, warm_start_from=read_evaluated(sources, metric))
    )


def _prepare(
    setup: ExperimentSetup, rerun_record: StoredRerunRecord | None, exit_stack: ExitStack
) -> RunningExperiment:
    """Open the experiment on its cluster; `exit_stack` closes both."""
    # Imported here so that a wrong argument is reported before Dask has been loaded.
    from prefect_tune.execution.cluster.api import connect, is_local_mode, is_output_shown
    from prefect_tune.execution.driver.dask_executor import DaskExecutor

    if is_local_mode():
        setup = setup.for_debugging()
    if not is_output_shown():
        setup = setup.without_output()
    request = setup.request
    if setup.run.isolation == "process" and isinstance(request.param_space, Mapping):
        check_sendable(request.param_space, request.space_argument)
        if heavy := large_values(request.param_space):
            _logger.warning(
                "`%s`: %s travels to each trial on its own. As tune.with_parameters(trainable, "
                "NAME=...) it gets to each node once, and trials share it.",
                request.space_argument,
                ", ".join(heavy),
            )
    executor = DaskExecutor(
        connect(setup.run.cluster, autostart=not setup.settings.disable_auto_init),
        setup.settings.wait_for_workers_s,
    )
    exit_stack.callback(executor.close)
    if setup.resources is not None and not setup.settings.disable_resource_checks:
        executor.validate_request(setup.resources)
    make = functools.partial(RunningExperiment, setup, executor)
    experiment = make() if rerun_record is None else rerun_record.when_free(make)
    exit_stack.callback(experiment.close)
    if not setup.resume:
        _write_arguments(experiment)
    if rerun_record is not None:
        rerun_record.record(setup.name, setup.origin or setup.experiment_id)
    experiment.open()
    if rerun_record is not None:
        rerun_record.record(setup.name, experiment.origin)
    return experiment


def _write_arguments(experiment: RunningExperiment) -> None:
    """Write the files that `Tuner.restore` reads, or remove those of an earlier run."""
    request, trainable = experiment.setup.request, experiment.setup.trainable
    small = request.saved is not None and trainable.size <= _LARGEST_TRAINABLE
    for name, data in (
        (TUNER_FILE, request.saved),
        (TRAINABLE_FILE, self_contained(trainable) if small else None),
    ):
        pickles, is_secret = experiment.setup.pickles, bool(request.run_config.env_vars)
        signed = data and encrypt_if_secret(
            pickles, pickles.with_signature(name, data), is_secret=is_secret
        )
        experiment.directory.write(name, signed)


def _make_rerun_record(
    request: ExperimentRequest, settings: TuneSettings
) -> StoredRerunRecord | None:
    """Return the surrounding flow run's record of its sweeps; None outside of flow runs."""
    orchestrate = request.run_config.orchestrate
    # Inside a flow run Prefect is imported already; this check must not import it.
    if "prefect" not in sys.modules or not (
        settings.orchestrate if orchestrate is None else orchestrate
    ):
        return None
    from prefect_tune.orchestration.control.reruns import make_rerun_record

    return make_rerun_record(settings.lease_s)


def _boot_server() -> EmbeddedServer | ConfiguredServer | None:
    """Start an embedded Prefect server if none is configured.

    Return the server if trials can start before Prefect is imported or the server answers; None in
    a flow run, whose server is used.
    """
    if "prefect" not in sys.modules:
        from prefect_tune.orchestration.server.embedded import process_server

        server = process_server.start_without_prefect()
        if server is not None:
            return server
    from prefect_tune.orchestration.server.api import start_server_early

    return start_server_early().booting


def _run(
    experiment: RunningExperiment,
    setup: ExperimentSetup,
    server: EmbeddedServer | ConfiguredServer | None,
) -> tuple[str | None, str | None]:
    """Run an open experiment, recorded in Prefect or not; return the flow run's id and URL.

    While Prefect is imported and an embedded server is booting, trials start already, and are
    recorded later. There is no flow run if the server does not start.
    """
    if not setup.orchestrate:
        launcher = DirectLauncher(experiment.executor)
        if "prefect" not in sys.modules:
            experiment.run(launcher)
            return None, None
        # An unrecorded experiment may run inside a flow all the same, and ends with the flow run.
        from prefect_tune.orchestration.control.flow_watch import FlowWatch

        watch = FlowWatch(
            lambda why, late: experiment.interrupt(why, out_of_time=late), is_remembered=False
        )
        with watch.guarding():
            experiment.run(launcher, [watch])
        return None, None

    def record(early: EarlyStart | None) -> FlowOutcome:
        from prefect_tune.orchestration.record.experiment_flow import run_experiment_in_flow

        return run_experiment_in_flow(experiment, early)

    if server is None or (server.is_ready and "prefect" in sys.modules):
        return record(None)
    from prefect_tune.orchestration.record.early_start import EarlyStart

    return EarlyStart(experiment, server).run(record) or (None, None)


async def run_sweeps_in_thread(call: Callable[[], _T]) -> _T:
    """Call a function that runs sweeps in a thread, without blocking the event loop.

    If the awaiting task is cancelled, the sweeps end in order before the cancellation goes on.
    """
    sweeps, loop = SweepGroup(), asyncio.get_running_loop()
    ended = asyncio.Event()
    with sweeps.current():
        called = _call_in_thread(call, "sweep")
    called.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    cancelled: asyncio.CancelledError | None = None
    while not ended.is_set():
        try:
            await ended.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            sweeps.interrupt("the task that awaits it was cancelled")
    if cancelled is not None:
        raise cancelled
    return called.result()


#: Arguments whose objects hold the state of one experiment, so that each one gets a copy.
_COPIED_ARGUMENTS = ("search_alg", "scheduler", "stop", "progress_reporter")


def run_several(
    run: Callable[..., ExperimentAnalysis],
    experiments: Sequence[Experiment],
    given: Mapping[str, Any],
    concurrent: bool,
) -> list[ExperimentAnalysis]:
    """Run several experiments, at the same time or one by one.

    Each one gets copies of the given scheduler, search and stoppers, because these compare the
    trials of one experiment with each other.

    Args:
        run: `prefect_tune.run`.
        experiments: The experiments.
        given: Arguments of `run` for all; an experiment's own arguments win.
        concurrent: True runs them at the same time.

    Raises:
        Exception: The error of the first experiment that failed, when all have ended.
        ExperimentInterrupted: If an experiment was ended early; its `analysis` is the list of all
            analyses so far.
    """
    calls = []
    taken: set[tuple[str, str]] = set()
    for experiment in experiments:
        arguments = {**given, **experiment.own_arguments}
        arguments["name"] = _free_name(experiment, taken)
        for name in _COPIED_ARGUMENTS:
            arguments[name] = copy.deepcopy(arguments.get(name))
        shown = arguments.get("verbose") != 0 and arguments["progress_reporter"] is None
        if concurrent and shown and not in_notebook():
            # Two live tables cannot share a terminal.
            arguments["progress_reporter"] = PlainReporter()
        calls.append(functools.partial(run, experiment.trainable, **arguments))
    outcomes = _run_concurrently(calls) if concurrent else _run_in_order(calls)
    interrupted = [error for error in outcomes if isinstance(error, ExperimentInterrupted)]
    analyses = [
        outcome.analysis if isinstance(outcome, ExperimentInterrupted) else outcome
        for outcome in outcomes
    ]
    if interrupted:
        raise ExperimentInterrupted(str(interrupted[0]), analyses)
    return analyses


def _free_name(experiment: Experiment, taken: set[tuple[str, str]]) -> str:
    """Return a name for an experiment whose directory no earlier experiment of the call has."""
    name, number = experiment.name, 1
    while (experiment.local_dir, name) in taken:
        number += 1
        name = f"{experiment.name}_{number}"
    if number > 1:
        _logger.warning("There is another experiment %r: this one is %r.", experiment.name, name)
    taken.add((experiment.local_dir, name))
    return name


def _run_in_order(calls: Sequence[Callable[[], _T]]) -> list[_T | ExperimentInterrupted]:
    """Make calls that run experiments, one by one; stop after one that was interrupted."""
    outcomes: list[_T | ExperimentInterrupted] = []
    for call in calls:
        outcomes.append(_outcome(call))
        if isinstance(outcomes[-1], ExperimentInterrupted):
            break
    return outcomes


def _run_concurrently(calls: Sequence[Callable[[], _T]]) -> list[_T | ExperimentInterrupted]:
    """Make calls that run experiments, at the same time; a signal ends all of them."""
    with relay_signals() as interruption:
        running = [_call_in_thread(call, f"experiment-{n}") for n, call in enumerate(calls)]
        wait(running)
    interruption.reraise()
    return [_outcome(call.result) for call in running]


def _call_in_thread(call: Callable[[], _T], name: str) -> Future[_T]:
    """Call a function in a thread of its own."""
    pool = ThreadPoolExecutor(1, name)
    # With a copy of the context, all sweeps have the surrounding flow run as parent.
    called = pool.submit(contextvars.copy_context().run, call)
    pool.shutdown(wait=False)
    return called


def _outcome(call: Callable[[], _T]) -> _T | ExperimentInterrupted:
    try:
        return call()
    except ExperimentInterrupted as error:
        return error
