"""Tune when new data has come: `python flows/on_new_data.py`.

Serves a deployment that starts at each event `data.arrived`, which whoever brings the data emits::

    from prefect.events import emit_event

    emit_event(
        "data.arrived",
        resource={"prefect.resource.id": "data.digits"},
        payload={"day": "2026-11-30"},
    )

A second deployment looks at the winner when that sweep has ended well, and promotes it if it is
good enough.
"""

from prefect import flow, get_run_logger, serve
from prefect.events import DeploymentEventTrigger

from prefect_tune.flows import tune_experiment

SWEEP = {
    "trainable": "prefect_tune.cli.quickstart.model:train_digits",
    "metric": "accuracy",
    "mode": "max",
    "space": {
        "learning_rate": {"loguniform": [1e-3, 1e-1]},
        "hidden_units": {"randint": [8, 65]},
        "layers": 2,
        "activation": "relu",
        "weight_decay": 1e-4,
        "batch_size": 32,
        "epochs": 5,
        "seed": 0,
    },
    "scheduler": {"kind": "asha", "max_t": 5},
    "budget": {"trials": 8},
}
ON_NEW_DATA = DeploymentEventTrigger(
    name="new data starts a sweep",
    expect={"data.arrived"},
    parameters={**SWEEP, "name": "data-{{ event.payload.day }}"},
)
ON_SWEEP_END = DeploymentEventTrigger(
    name="a sweep that has ended promotes its winner",
    expect={"prefect-tune.sweep.ended"},
    match={"prefect-tune.status": "completed", "prefect-tune.experiment": "data-*"},
    parameters={
        # By way of JSON, because templates make texts.
        "accuracy": {
            "__prefect_kind": "json",
            "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.best_value }}"},
        },
        "directory": "{{ event.payload.directory }}",
    },
)


@flow
def promote(accuracy: float, directory: str, at_least: float = 0.9) -> bool:
    """Stands for what deploys a model; gives whether it did."""
    good = accuracy >= at_least
    get_run_logger().info("%s is %s.", directory, "promoted" if good else "not good enough")
    return good


if __name__ == "__main__":
    serve(
        tune_experiment.to_deployment(name="on-new-data", triggers=[ON_NEW_DATA]),
        promote.to_deployment(name="winner", triggers=[ON_SWEEP_END]),
    )
