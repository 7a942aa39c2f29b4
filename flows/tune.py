"""Serve the experiment flow from this machine: `python flows/tune.py`.

Then start experiments from the UI, or with::

    prefect deployment run 'tune-experiment/tune' --params '{
        "trainable": "my_package.train:train", "metric": "accuracy",
        "space": {"lr": {"loguniform": [1e-4, 1e-1]}}, "num_samples": 20}'

A run that is retried, resumed, or restarted after a crash goes on with its experiment.
`prefect-tune automations create` has the server restart crashed ones by itself.

Trainables are imported, so start it where they can be: in their directory or environment.
"""

from prefect_tune.flows import tune_experiment

if __name__ == "__main__":
    tune_experiment.serve(name="tune")
