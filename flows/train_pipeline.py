"""A pipeline with a sweep in it: prepare, tune, train the winner. `python flows/train_pipeline.py`.

The flow runs once, here; `train_pipeline.serve(name="train")` makes a deployment of it. A retry of
its flow run goes on with the sweep.
"""

from typing import Any

from prefect import flow, task

import prefect_tune as tune
from prefect_tune.cli.quickstart.model import train_digits
from prefect_tune.schedulers import ASHAScheduler


@task
def prepare() -> dict[str, int]:
    """Stands for what prepares the data."""
    return {"epochs": 10, "seed": 0}


@task
def train_winner(config: dict[str, Any]) -> str:
    """Train the best configuration for longer; gives the directory of the model."""
    analysis = tune.run(train_digits, name="winner", config={**config, "epochs": 20}, verbose=0)
    (trial,) = analysis.trials
    return str(trial.checkpoint.path if trial.checkpoint else analysis.experiment_path)


@flow
def train_pipeline(trials: int = 8) -> str:
    """Prepare, tune and train."""
    analysis = tune.run(
        train_digits,
        config={
            **prepare(),
            "learning_rate": tune.loguniform(1e-3, 1e-1),
            "hidden_units": tune.randint(8, 65),
            "layers": tune.randint(1, 4),
            "activation": tune.choice(["relu", "tanh"]),
            "weight_decay": tune.loguniform(1e-6, 1e-2),
            "batch_size": tune.choice([32, 128]),
        },
        metric="accuracy",
        mode="max",
        scheduler=ASHAScheduler(max_t=10),
        num_samples=trials,
    )
    return train_winner(analysis.best_config)


if __name__ == "__main__":
    print(train_pipeline())
