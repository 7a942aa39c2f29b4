"""The sweep: which values to try, how to choose them, when to give up on a network."""

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

#: A network may train this long before it is compared with the others, and every rung is this many
#: times as long as the one before: 3, 9, 27 epochs.
FIRST_RUNG = 3
RUNG_FACTOR = 3


@dataclass(frozen=True)
class SweepOptions:
    """What the command line can change.

    Attributes:
        trials: How many networks to train.
        epochs: Epochs a network is trained at most.
        seed: Seeds the search, the initial weights and the shuffling.
        search: ``optuna``, ``random``, or ``auto``: Optuna if it is installed.
        storage: Directory below which the experiment directory is made; None is the default.
        cluster: Address of a running Dask scheduler; None starts a cluster in this process.
        orchestrate: Record the sweep with Prefect; None asks `PREFECT_TUNE_ORCHESTRATE`.
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
    """Return the hyper-parameters of the network and where to look for them."""
    return {
        "hidden_units": tune.lograndint(8, 257),
        "layers": tune.randint(1, 4),
        "activation": tune.choice(["relu", "tanh", "logistic"]),
        "learning_rate": tune.loguniform(1e-4, 1e-1),
        "weight_decay": tune.loguniform(1e-6, 1e-1),
        "batch_size": tune.choice([16, 32, 64, 128]),
    }


def scheduler(epochs: int) -> ASHAScheduler:
    """ASHA on epochs: of the networks at a rung only the best third goes on."""
    return ASHAScheduler(
        time_attr="training_iteration",
        max_t=epochs,
        grace_period=min(FIRST_RUNG, epochs),
        reduction_factor=RUNG_FACTOR,
        # A network that got to its last epoch ends by itself: it was not stopped early.
        stop_last_trials=False,
    )


def searcher(search: str, seed: int) -> Any:
    """Who proposes configurations.

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
    """Train the networks and return what came of each.

    Raises:
        prefect_tune.TuneError: On options that cannot work, before a network is trained.
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
