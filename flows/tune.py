"""Serve the experiment flow from this machine: `python flows/tune.py`.

Then start experiments from the UI, whose form has a field for everything, or with::

    prefect deployment run 'tune-experiment/tune' --params '{
        "trainable": "prefect_tune.cli.quickstart.model:train_digits", "metric": "accuracy",
        "mode": "max", "space": {"learning_rate": {"loguniform": [1e-3, 1e-1]},
        "hidden_units": 32, "layers": 1, "activation": "relu", "weight_decay": 1e-4,
        "batch_size": 32, "epochs": 5, "seed": 0}, "budget": {"trials": 4}}'

A run that is retried, resumed, or restarted after a crash goes on with its experiment.
`prefect-tune automations create` has the server restart crashed ones by itself.

Trainables are imported, so start it where they can be: in their directory or environment.
"""

from prefect_tune.flows import tune_experiment

if __name__ == "__main__":
    tune_experiment.serve(name="tune")
