"""The sweep of the quickstart: search space, searcher and scheduler."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import prefect_tune as tune
from prefect_tune.cli.quickstart.model import train_digits
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import ASHAScheduler

if TYPE_CHECKING:
    from prefect_tune.results import ExperimentAnalysis

METRIC = "accuracy"
MODE = "max"

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


def searcher(search: str, seed: int) -> Any:
    """Return the searcher for the option ``--search``.

    Raises:
        InvalidArgument: If Optuna is asked for but not installed.
    """
    installed = importlib.util.find_spec("optuna") is not None
    if search == "optuna" and not installed:
        raise InvalidArgument(
            "search", "Optuna is not installed.", "Run `pip install optuna`, or choose random."
        )
    if search == "random" or not installed:
        from prefect_tune.search import BasicVariantGenerator

        return BasicVariantGenerator(random_state=seed)
    from prefect_tune.search.optuna import OptunaSearch

    return OptunaSearch(seed=seed)


def run_sweep(options: SweepOptions) -> ExperimentAnalysis:
    """Run the sweep and return its trials.

    Raises:
        prefect_tune.TuneError: If the options cannot work; no network is trained then.
    """
    return tune.run(
        train_digits,
        config={**search_space(), "epochs": options.epochs, "seed": options.seed},
        metric=METRIC,
        mode=MODE,
        num_samples=options.trials,
        search_alg=searcher(options.search, options.seed),
        scheduler=scheduler(options.epochs),
        resources_per_trial={"cpu": options.cpus_per_trial},
        storage_path=options.storage,
        cluster=options.cluster,
        orchestrate=options.orchestrate,
        seed=options.seed,
        raise_on_failed_trial=False,
    )
