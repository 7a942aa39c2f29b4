"""Deployable flows.

`tune_experiment` runs one experiment from JSON parameters. Serve it with ``flows/tune.py``, or
deploy it by module path, ``prefect_tune.flows.tune_experiment``, to any work pool whose environment
has this package and the trainable installed.
"""

# Annotations must stay objects: Prefect makes the form of them, and where it loads this file from
# its path, it could not look their names up.
import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal

from prefect_tune.orchestration.sigterm import announced
from prefect_tune.orchestration.this_flow import current_flow_is_experiment
from prefect_tune.spec import ExperimentSpec, Mode, SchedulerName, SearchName


@flow(name="tune-experiment", description="Tune the hyper-parameters of a trainable.")
def tune_experiment(
    trainable: str,
    space: dict[str, Any],
    metric: str,
    mode: Mode = "max",
    num_samples: int = 10,
    scheduler: SchedulerName = "fifo",
    scheduler_options: dict[str, Any] | None = None,
    search: SearchName = "random",
    search_options: dict[str, Any] | None = None,
    stop: dict[str, float] | None = None,
    time_budget_s: float | None = None,
    trial_time_limit_s: float | None = None,
    resources_per_trial: dict[str, float] | None = None,
    max_concurrent_trials: int | None = None,
    max_failures: int = 0,
    storage_path: str | None = None,
    name: str | None = None,
    cluster: str | None = None,
    seed: int | None = None,
    resume: bool | str | None = None,
    restore: str | None = None,
) -> State[Any]:
    """Tune the hyper-parameters of a trainable; this flow run is the experiment.

    Args:
        trainable: Import path of a function f(config), e.g. `my_package.train:train`.
        space: Search space as JSON, e.g. `{"lr": {"loguniform": [1e-4, 1e-1]}, "act": {"choice":
            ["relu", "tanh"]}, "layers": {"randint": [1, 4]}, "epochs": 10}`. Domains: uniform,
            quniform, loguniform, qloguniform, randn, qrandn, randint, qrandint, lograndint,
            qlograndint, choice, grid_search. Anything else is a constant.
        metric: Name of the reported metric to optimise.
        mode: Whether the metric is to be minimised or maximised.
        num_samples: How often the space is sampled (a grid is repeated as often); -1 without end.
        scheduler: What stops bad trials early; fifo stops none.
        scheduler_options: Arguments of the scheduler, e.g. `{"max_t": 100, "grace_period": 5}`.
        search: How configurations are found.
        search_options: Arguments of the search, e.g. `{"seed": 1}`.
        stop: Ends a trial when a metric reaches a value, e.g. `{"training_iteration": 100}`.
        time_budget_s: Seconds after which the experiment ends.
        trial_time_limit_s: Seconds after which a trial is ended, all its attempts together.
        resources_per_trial: What a trial needs, e.g. `{"cpu": 1, "gpu": 0.5}`; default one CPU.
        max_concurrent_trials: Most trials that run at a time; default what the cluster holds.
        max_failures: How often a failed trial is tried again; -1 without end.
        storage_path: Where the results directory is made.
        name: Name of the experiment, its directory and this flow run; default a dated one.
        cluster: Address of a Dask scheduler, e.g. `tcp://10.0.0.1:8786`; default this machine.
        seed: Seeds the search and every trial.
        resume: Goes on with the experiment of this name and storage path: `AUTO` if there is one,
            `LOCAL` insists on it, `REMOTE` on what is in remote storage; `+ERRORED` or
            `+RESTART_ERRORED` behind it runs failed trials again. When Prefect executes a flow run
            again, it goes on with its experiment anyway, unless this is false.
        restore: Path or URL of a checkpoint that every trial starts from.

    Returns:
        Best trial, config and metrics.

    Raises:
        InvalidArgument: If a parameter cannot work; names it.
    """
    given = {key: value for key, value in locals().items() if value is not None}
    _leave_to_users_modules()
    arguments = ExperimentSpec.parse(given).run_arguments()
    from prefect_tune import run

    with current_flow_is_experiment() as experiment:
        try:
            run(**arguments, raise_on_failed_trial=False, orchestrate=True)
        except TerminationSignal:
            # The sweep has ended in order already; its state says so better than a crash would.
            # What the supervisor has announced, to cancel or to run it elsewhere, it does itself.
            if experiment.final_state is None or announced() is not None:
                raise
    if experiment.final_state is None:
        raise RuntimeError("the experiment was not recorded")
    return experiment.final_state


def _leave_to_users_modules() -> None:
    """Take this directory off the import path.

    Prefect puts it there, first of all, when it loads this file from its path. Our `config`,
    `utils` or `search` would be found instead of the modules of these names that the user's import.
    """
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [path for path in sys.path if path != here]
