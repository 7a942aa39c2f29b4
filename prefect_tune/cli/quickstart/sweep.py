"""The sweep of the quickstart, the refit of its best network, and the values of its summary."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import prefect_tune as tune
from prefect_tune.cli.quickstart.model import load_data, refit, train_digits
from prefect_tune.cli.quickstart.summary import Effort, Outcome, print_introduction, print_summary
from prefect_tune.error import ExperimentInterrupted, TuneError
from prefect_tune.schedulers import ASHAScheduler

if TYPE_CHECKING:
    from prefect_tune.results import ExperimentAnalysis

METRIC = "accuracy"
MODE = "max"
PICTURE = "quickstart.png"

#: Epochs at ASHA's first rung, and the factor from each rung to the next: 3, 9, 27 epochs.
FIRST_RUNG = 3
RUNG_FACTOR = 3


@dataclass(frozen=True)
class SweepOptions:
    """The options of the command line.

    Attributes:
        trials: Number of networks to train.
        epochs: The most epochs of a network.
        seed: Seed of the search, the initial weights and the shuffling.
        search: ``optuna``, ``random``, or ``auto``: Optuna if it is installed.
        storage: Directory for the experiment directory; None is the default.
        cluster: Address of a running Dask scheduler; None starts a cluster in this process.
        orchestrate: Record the sweep with Prefect; None reads `PREFECT_TUNE_ORCHESTRATE`.
        cpus_per_trial: CPUs reserved for each network.
    """

    trials: int = 40
    epochs: int = 40
    seed: int = 0
    search: str = "auto"
    storage: str | None = None
    cluster: str | None = None
    orchestrate: bool | None = None
    cpus_per_trial: float = 1.0


def search_space() -> dict[str, Any]:
    """Return the search space of the network's hyperparameters."""
    return {
        "hidden_units": tune.lograndint(8, 257),
        "layers": tune.randint(1, 4),
        "activation": tune.choice(["relu", "tanh", "logistic"]),
        "learning_rate": tune.loguniform(1e-4, 1e-1),
        "weight_decay": tune.loguniform(1e-6, 1e-1),
        "batch_size": tune.choice([16, 32, 64, 128]),
    }


def scheduler(epochs: int) -> ASHAScheduler:
    """Return an ASHA scheduler that continues the best third of the networks at each rung."""
    return ASHAScheduler(
        time_attr="training_iteration",
        max_t=epochs,
        grace_period=min(FIRST_RUNG, epochs),
        reduction_factor=RUNG_FACTOR,
        # A network ends by itself at its last epoch, and should not count as stopped early.
        stop_last_trials=False,
    )


def run_sweep(options: SweepOptions) -> ExperimentAnalysis:
    """Run the sweep and return its trials.

    Raises:
        prefect_tune.TuneError: If the options cannot work; no network is trained then.
    """
    search = options.search
    if search == "auto":
        search = "optuna" if importlib.util.find_spec("optuna") else "random"
    return tune.run(
        train_digits,
        config={**search_space(), "epochs": options.epochs, "seed": options.seed},
        metric=METRIC,
        mode=MODE,
        num_samples=options.trials,
        search_alg=tune.create_searcher(search),
        scheduler=scheduler(options.epochs),
        resources_per_trial={"cpu": options.cpus_per_trial},
        storage_path=options.storage,
        cluster=options.cluster,
        orchestrate=options.orchestrate,
        seed=options.seed,
        raise_on_failed_trial=False,
    )


def run(options: SweepOptions, console: Console | None = None) -> Outcome:
    """Run the sweep, evaluate its best network on the test data, and print a summary.

    Args:
        options: The options of the command.
        console: The console to print on; None is standard output.

    Returns:
        The values in the summary.

    Raises:
        prefect_tune.TuneError: If the options cannot work or no network could be trained.
    """
    console = console or Console()
    print_introduction(options, console)
    try:
        analysis = run_sweep(options)
    except ExperimentInterrupted as error:
        analysis = error.analysis
    outcome = conclude(analysis, options)
    print_summary(outcome, console)
    return outcome


def conclude(analysis: ExperimentAnalysis, options: SweepOptions) -> Outcome:
    """Refit the best network, draw the picture and collect the values of the summary.

    Raises:
        prefect_tune.TuneError: If no trial reported an accuracy.
    """
    effort = Effort.of(analysis.trials, options.epochs)
    best = analysis.best_trial
    if best is None:
        where = f"no network was trained; see {analysis.experiment_path}"
        raise TuneError(where) if effort.failed else ExperimentInterrupted(where)
    epochs = best.last_result["training_iteration"]
    test = refit(best.config, epochs)
    return Outcome(
        trial_name=str(best),
        config={name: best.config[name] for name in search_space()},
        best_epochs=epochs,
        validation_accuracy=best.last_result[METRIC],
        test_accuracy=test[METRIC],
        test_images=len(load_data().test),
        trials_wanted=options.trials,
        effort=effort,
        experiment_path=analysis.experiment_path,
        plot_path=_draw(analysis),
        flow_run_id=analysis.flow_run_id,
        flow_run_url=_lasting_url(analysis),
    )


def _draw(analysis: ExperimentAnalysis) -> str | None:
    """Draw the picture into the experiment directory; None without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from prefect_tune.results.plots.draw import plot_experiment

    return plot_experiment(analysis, METRIC, MODE, Path(analysis.experiment_path) / PICTURE)


def _lasting_url(analysis: ExperimentAnalysis) -> str | None:
    """Return the URL of the flow run, None if its server ends with this process."""
    if analysis.flow_run_url is None:
        return None
    # Imported here, because the quickstart must work without Prefect.
    from prefect_tune.orchestration.server.api import start_server_early

    return None if start_server_early().embedded else analysis.flow_run_url
